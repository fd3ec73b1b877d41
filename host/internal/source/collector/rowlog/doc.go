// Package rowlog keeps the collector's rendered rows in its write-ahead log
// until they are in the journals of their projects.
//
// It knows neither HTTP nor JSON. A request waits for Append; Drain
// carries entries, in order, to journals, with the entry's index as the
// source's cursor; Trim drops entries that the journals have made durable.
//
// Append compresses many rows of a day into the fragments that the journal will hold.
// An entry is then a tenth as long, and nothing is compressed twice:
//
//	2,000 events of Monday, 3 links   an entry of 2 fragments and 3 rows
//	50 events of Monday               an entry of 50 rows, which the journal compresses
//	                                  together with those of other requests
//	50 events of Monday, 4 times,     an entry of a fragment of 200 rows
//	while an entry is synced
//
// Promises: rows whose Append returned nil reach their journal exactly once,
// whatever crashes when. The cursor moves in the transaction that makes the
// rows visible, and entries at or before it are passed over when the log is
// drained again.
package rowlog
