// Package rowflate compresses rows, the lines of a block, as raw DEFLATE (RFC 1951). It
// does the work of a general compressor of level 1 in less time, and into fewer bytes,
// because it knows the parts of a row.
//
// A general compressor looks at each place for four bytes that stood somewhere before.
// Rows repeat themselves in larger pieces: most of a row stands in the row before, name
// by name, and the rest is mostly values that the same names had some rows ago.
// So an Encoder reads rows as gaps and values. A gap is all the text between two
// values: punctuation and names. Gaps of equal text have one number, and which gap
// follows which is predicted from the last time, and three comparisons of eight bytes
// confirm it. For each gap the encoder knows where it stood last, and where
// it stood last with a value that begins with the same eight bytes. It compares once,
// with the latter or else the former, and copies as far as the two agree: often over
// several members, which then need no look of their own.
//
// Eight rows, and the bytes that are written for each; … is a copy of a row above:
//
//	{"event_name":"View","time":1793232000,"user_id":"ann"}
//	…View","time":17932320…43…,"user_id":"…bob…"}              where the row above agrees
//	…Cart…,"time":17932320…51…,"user_id":"…cleo…"}
//	…View","time":17932320…4…4…,"user_id":"…ann"}              View and ann: of the first row
//	…Cart","time":17932320…59…,"user_id":"…bob"}               Cart of the third, bob of the second
//	…View","time":1793232…102…,"user_id":"…cleo"}
//	…Cart","time":1793232…107…,"user_id":"…ann"}
//	…Pay…,"time":1793232…112…,"user_id":"…bob"}
//
// A caller that knows where members begin says so with marks (package rowmark), which
// spares the search for gaps and for the ends of values: an event's row is encoded for
// about a quarter less. Rows without marks, nested values and wrong marks cost only time.
//
// What is left of a value is compared with values behind other gaps (a distinct_id
// stands in a row twice), and, if it is long, searched byte by byte; values of names
// that never yield anything are searched only now and then. Literals and copies are written
// some thousand at a time, while their rows are in the processor's cache, with Huffman codes
// that were made of rows before: samples of the rows tell whether they still suit. Only
// the codes of a fragment of few rows are made of all of it.
//
// It is not a general compressor: text that is not made of rows is compressed correctly,
// and badly. It knows neither blocks of a segment nor checksums.
//
// Promises: a fragment inflates to its rows, whatever they hold, which a fuzz
// target compares with two other implementations; it is not final, and ends on a byte
// with an empty stored block, so that fragments can be joined; it depends on the rows
// and on the rows that the encoder was given before. Copies reach back 32 KiB at most,
// and never beyond the fragment. Time grows with the bytes of the rows.
package rowflate
