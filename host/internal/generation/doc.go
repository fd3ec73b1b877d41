// Package generation keeps sets of rows that are replaced as a whole, people
// and identity mappings, as lists of immutable blocks in blob storage.
//
// It does not know the meaning of a row, except that a row begins with distinct_id:
// the fold that calls Update decides which rows change. It does not write the
// catalog either: a generation is in use once the caller has named it there.
//
// Rows are ordered by Key. A block is the longest run of rows whose keys' hashes
// begin with the same bits that fits into the block size, so that the blocks
// follow from the rows alone: any division of the same changes into updates
// leaves the same bytes. Blocks and lists are named by their content. A block
// whose rows did not change is not written again, the next list only names it.
//
// Promises:
//
//   - files that a generation in use refers to are never changed, nor removed by Sweep;
//   - a list is written last, when its blocks are durable; a crash leaves files
//     that nothing refers to, which the next update writes over or a sweep
//     removes;
//   - every stored byte is covered by a checksum; damage is an error that names
//     the file, and never a panic or an allocation larger than the files;
//   - memory is bounded by a few blocks and rows, and some 100 bytes for each
//     block of the set.
package generation
