// Package segment is the journal's file format: one immutable file that holds
// blocks of rows, the dedup keys of those rows, and an index of both.
//
// It uses no disk, no catalog and no clock: a Builder writes bytes in order, a
// File reads them through an io.ReaderAt. docs/journal-format.md draws the
// format. The package promises that a checksum covers every byte of a file, and
// that a damaged or hostile file causes an error that names the place, never a
// panic or an allocation beyond the file's size.
package segment
