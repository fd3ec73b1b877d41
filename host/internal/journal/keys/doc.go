// Package keys answers which dedup keys the journal has seen.
//
// Keys lie in runs: segment files of which only the keys part matters. The
// newest runs are the segments themselves; older ones are merged by size, four
// into one, so that a look-up meets few of them. Filters and pages are read
// through one cache with a byte budget: memory does not grow with the keys.
//
// It does not write the catalog: the caller replaces the merged runs there.
package keys
