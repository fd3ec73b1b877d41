package batch

// Stream is one of the three kinds of data.
type Stream int

// The streams. Their rows have exactly these columns, in this order.
const (
	Events   Stream = iota + 1 // device_id, distinct_id, event_name, insert_id, properties, time, user_id
	People                     // distinct_id, properties
	Identity                   // distinct_id, resolved_distinct_id
)

// Flags say what is unusual about some row of a batch.
type Flags uint32

// The flags; the values are those of the wire and of the journal.
const (
	DuplicateKey  Flags = 1 << iota // some object has the same key twice
	NUL                             // some string holds U+0000
	WideNumber                      // some number is outside of IEEE double, or an integer outside of ±2^53
	LongRow                         // some row is longer than 256 KiB
	Deep                            // some value is nested deeper than 64 levels
	LoneSurrogate                   // some string has an escaped surrogate that has no partner
)

// MaxPayload is the most bytes of a batch's payload: 4 MiB less what the
// message around it needs.
const MaxPayload = 4<<20 - 64<<10

// Batch is some rows as they are shipped: one block of the journal.
type Batch struct {
	Rows int
	// Payload is a raw DEFLATE fragment of NDJSON rows: byte-aligned, its own
	// dictionary, ended by a sync flush, never the final bit. It is valid until
	// the next call of Reader.Next and must not be changed.
	Payload []byte
	// RowsBytes and RowsCRC32 (IEEE) are of the rows, uncompressed.
	RowsBytes int
	RowsCRC32 uint32
	Flags     Flags
}
