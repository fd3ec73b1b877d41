// Package quarantine keeps refused records, with where they came from, why they
// were refused, and their bytes, until they are replayed or dropped.
//
// It decides nothing: the schema and the destinations refuse records. It stops
// nothing either: beyond its cap records are only counted.
//
// A file holds the refused records of one span of a source's position (a file,
// from byte to byte), or the refused rows of one run. It is written whole,
// synced and renamed before the cursor or the run moves past its records,
// and named by where the span begins: a span that is read again after a crash
// overwrites its file, and no record is there twice. A source that cannot be
// read again appends to the newest of its "tail" files.
//
// A Ledger outside of the directory remembers how many records each file holds,
// by reason. A file that holds fewer, because it was emptied or deleted, is
// reported until its records are found again or the loss is dropped.
//
// Memory is bounded: one record at a time is in memory, of at most MaxRecord
// bytes, however many there are.
package quarantine
