// Package profile folds profile operations into the latest profiles.
//
// It knows neither the journal nor the catalog: operations come as the caller
// hands them out, in the order in which they were sealed, and the profiles are
// a generation (package generation), whose rows are
//
//	{"distinct_id":…,"properties":{…}}
//
// with the properties in the order of their names' bytes. A profile that no
// operation has made, or that one has deleted, has no row.
//
// Operations of one profile are applied in their order; those of different
// profiles do not meet. They are sorted by profile, on disk as far as memory
// does not hold them, so that one pass over the changes makes the next
// generation.
//
// Promises:
//
//   - the next generation follows from the last one and the operations: folded
//     at once or in any number of parts, it has the same bytes;
//   - memory is bounded by Options and by one profile of at most MaxProfile,
//     whatever the number of profiles, of operations, and of operations of one
//     profile;
//   - a fold that ends early leaves nothing but files, which the next one or
//     Clear removes.
package profile
