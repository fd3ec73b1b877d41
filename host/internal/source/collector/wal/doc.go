// Package wal is the collector's write-ahead log: entries are appended in
// order, durable when Append returns, read in the same order, and dropped from
// the front once they are in the journal.
//
// Entries are opaque bytes. A log is for one process, which holds the
// lock of the data directory.
//
// Entries have consecutive indexes from 1. They lie in files that are named
// after the index of their first entry and begin with a header; each entry is
// a frame:
//
//	length  uint32  of the payload
//	check   uint32  CRC-32C of the 16 bytes that follow and the payload
//	index   uint64
//	synced  uint64  how much of the file was durable before this entry's batch
//	payload
//
// all little-endian. Entries that several callers append at the same time are one
// batch: one write, one sync.
//
// Promises:
//
//   - an entry whose Append returned nil is there until Drop, whatever crashes;
//   - an entry whose Append failed is not there, unless the failure says that
//     the outcome is unknown (ErrBroken);
//   - the torn tail that a crash leaves is cut and reported when the log is
//     opened; damage to durable entries is an error, and never cut: the field
//     synced tells the two apart;
//   - entries that were acknowledged and are missing, because files were removed,
//     emptied or cut off, are reported before the log is used again: a mark next to
//     the log (MarkName) and Options.After tell of them;
//   - memory is bounded by the entries that wait.
package wal
