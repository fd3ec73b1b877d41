// Package journal keeps rows durably, once, in the order in which they were
// sealed, and hands out the compressed blocks they lie in.
//
// It knows neither destinations nor the time of day, and it holds no SQL: the
// interface Catalog lists the calls that it makes to the catalog.
//
// A Writer takes rows of one project. They wait in open blocks, one per
// partition (kind, UTC date, date in the project's zone), under one byte
// budget. A full block is stripped of rows that the journal has seen, and is
// compressed. Producers with many rows of one partition compress them themselves, as a
// Fragment: it needs no open block, and only its keys are looked at. From time to
// time everything open is sealed: written as one segment, and made visible by one
// catalog transaction together with the cursors of the sources it came from.
//
// The order of a seal, each step durable before the next:
//
//  1. a pending row names the segment,
//  2. the segment is written, synced, renamed, its directory synced,
//  3. one transaction moves the project's sequence by compare-and-set, inserts
//     the segment, moves the cursors by compare-and-set, drops the pending row,
//  4. a commit record is written to the same store as the segment,
//  5. callers that wait for the seal return.
//
// A Rewriter puts one file in the place of several, with all blocks of their seals, or
// without those that retention removes; File has a drawing. Seals keep their numbers and
// extents their indexes, so that cursors and planned runs read the same bytes as before.
// The new file becomes visible in one catalog transaction; its commit record follows,
// and the files that it replaces are removed last.
//
// Promises:
//
//   - J1: a row whose Seal returned nil is in the journal exactly once. A crash
//     before step 3 leaves no row of the segment visible; a crash after step 3
//     loses no row of it. A rewrite removes the rows that its caller picks, if the
//     catalog finds that no pipeline needs them, and no others.
//   - J2: a file never changes; each file in the catalog is whole and checksummed on
//     disk, until the catalog names another in its place.
//   - J3: memory is bounded by Options, for any number of rows, days and keys.
//   - Operations and links are read in the order in which they were appended:
//     segments by sequence, a segment's extents by index, rows as they lie.
//     Events keep that order within a partition, but for those whose key is kept
//     under another date than their own.
package journal
