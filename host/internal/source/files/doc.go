// Package files reads records out of files: NDJSON or arrays of records, plain
// or compressed with gzip or zstd, in directories or in buckets.
//
// It does not look into a record: it cuts a file into pieces of whole records
// and returns where they end. A cursor per file holds how far it is read, in bytes
// after decompression, and a hash of these bytes, so that reading resumes where
// the last seal left off. A file that was read to its end and has not changed is
// not opened again. A file whose bytes are known, under this or another name or
// in another compression, is read on; other content is read from its beginning.
//
// Several compressed files of a directory are read at a time, in turns. All others, and
// those of a source whose operations are done in order, are read one after the other, by
// path. The error of a file ends the reading when the files before it are read.
//
// Pieces are cut the same way whenever a file is read from the same place, so
// that a record that is read again after a crash is refused again under the same
// positions.
package files
