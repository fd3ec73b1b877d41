// Package files reads records out of files: NDJSON or arrays of records, plain
// or compressed with gzip or zstd, in directories or in buckets.
//
// It does not look into a record: it cuts a file into pieces of whole records
// and says where they end. A cursor per file (what the file was, and how far
// it is read, in bytes after decompression) lets a reading go on where the
// last seal left off. A file that was read to its end and has not changed is
// not opened again; one that has grown is read on; one that is another file
// under the same name is read from its beginning.
//
// Pieces are cut the same way whenever a file is read from the same place, so
// that what is read again after a crash is refused again under the same
// positions.
package files
