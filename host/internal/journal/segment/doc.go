// Package segment is the journal's file format: one immutable file that holds
// blocks of rows, the dedup keys of those rows, and an index of both.
//
// It knows no disk, no catalog and no time: a Builder puts bytes out in order,
// a File reads them through an io.ReaderAt. docs/journal-format.md draws the
// format; what is promised is that every byte of a file is covered by a
// checksum, and that a damaged or hostile file makes an error that names the
// place, never a panic or an allocation beyond the file's size.
package segment
