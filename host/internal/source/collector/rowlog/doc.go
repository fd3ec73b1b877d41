// Package rowlog keeps the collector's rendered rows in its write-ahead log
// until they are in the journals of their projects.
//
// It knows neither HTTP nor JSON. A request waits for Append; Drain
// carries entries, in order, to journals, with the entry's index as the
// source's cursor; Trim drops entries that the journals have made durable.
//
// Promises: rows whose Append returned nil reach their journal exactly once,
// whatever crashes when. The cursor moves in the transaction that makes the
// rows visible, and entries at or before it are passed over when the log is
// drained again.
package rowlog
