// Package mixpanel pulls events and profiles out of a Mixpanel project: events by
// the raw export API, profiles by the profile query API.
//
// It writes to neither the journal nor the catalog. A Source decides which days are
// pulled next, downloads them, and hands each download to its caller as an
// ingest.Source; the caller makes its rows durable together with the cursors that
// come with the last piece.
//
// A download becomes visible only when it is whole. The export API returns the
// days of a query as one stream of lines that may end early, without an error: so
// the stream is first written to a compressed file, the spool, and its end is
// looked at. Only a stream that ended properly is handed on.
//
//	response ─► spool/2026-06-01_2026-06-03_….part    fsync, rename
//	            spool/2026-06-01_2026-06-03_….s2  ─► pieces, cursors ─► removed
//
// A process that dies while it downloads leaves a .part file, which is removed; one
// that dies after the rename leaves a spool that the next one hands on, without
// another query. The disk bounds a spool: a source has at most four at a time, some of
// them being downloaded while another is stored.
//
// Late events of days that were pulled whole are asked for by the time at which Mixpanel
// processed them, as long as trials show that this finds all of them: see late.go.
//
// Promises:
//
//   - memory does not depend on the size of a day or on the number of days;
//   - a stream that is cut (a connection that ends early, a last line without
//     newline or that is not JSON, the marker "terminated early", a page of HTML)
//     leaves nothing but an error, and its days are pulled again;
//   - queries of all sources of a project share one Budget for each API, which
//     outlives the process;
//   - profiles are handed on only after all pages of a session were read and their
//     number agrees with the total of the first page;
//   - credentials are sent to the configured host only, and are in no error.
//
// A stream that the server ends properly between two lines, before the end of its
// day, looks whole. Pulling the days of the lookback again makes up for that.
package mixpanel
