package batch

import "fmt"

// Stream is one of the three kinds of data.
type Stream int

// The streams. Their rows have exactly these columns, in this order.
const (
	Events   Stream = iota + 1 // device_id, distinct_id, event_name, insert_id, properties, time, user_id
	People                     // distinct_id, properties
	Identity                   // distinct_id, resolved_distinct_id
)

// String is the stream's name in configurations. A stream that the version does not know,
// and one that was not set, is an unknown stream.
func (s Stream) String() string {
	switch s {
	case Events:
		return "events"
	case People:
		return "people"
	case Identity:
		return "identity"
	default:
		return "unknown stream"
	}
}

// Flags describe unusual rows of a batch. Only a batch with the flag set can
// hold rows with the property.
type Flags uint32

// The flags; the values are those of the wire and of the journal.
const (
	DuplicateKey  Flags = 1 << iota // some object has the same key twice
	NUL                             // some string holds U+0000
	WideNumber                      // some number is outside of IEEE double, or an integer outside of ±2^53
	LongRow                         // some row is longer than 256 KiB
	Deep                            // some value is nested deeper than 64 levels
	LoneSurrogate                   // some string has an escaped surrogate that has no partner: only in rows of earlier versions
	RoundedNumber                   // some number with a fraction or an exponent is not exactly that of an IEEE double: see FitsDouble
)

const (
	// MaxPayload is the largest size of a batch's payload in bytes: 4 MiB less
	// room for the other fields of the message.
	MaxPayload = 4<<20 - 64<<10

	// MaxRowsBytes is the largest size of a batch's rows in bytes, uncompressed.
	// A block is about 1 MiB, or one row of at most 4 MiB.
	MaxRowsBytes = 16 << 20
)

// Batch holds compressed rows of one stream and one date: one block of the
// journal, as the host sends it.
type Batch struct {
	// First is the index of the batch's first row in its partition, from 0.
	// Reader fills it in.
	First uint64
	Rows  int
	// Payload is a raw DEFLATE fragment of NDJSON rows: byte-aligned, its own
	// dictionary, ended by a sync flush, never the final bit. It is valid until
	// the next call of Reader.Next and must not be changed.
	Payload []byte
	// RowsBytes and RowsCRC32 (IEEE) are of the rows, uncompressed.
	RowsBytes int
	RowsCRC32 uint32
	Flags     Flags
}

// Totals count rows. RowsBytes and RowsCRC32 are of the rows uncompressed, in
// order.
type Totals struct {
	Rows         uint64
	RowsBytes    uint64
	RowsCRC32    uint32
	PayloadBytes uint64
}

// Add counts a batch that follows.
func (t *Totals) Add(b *Batch) {
	t.Append(Totals{
		Rows: uint64(b.Rows), RowsBytes: uint64(b.RowsBytes), RowsCRC32: b.RowsCRC32, PayloadBytes: uint64(len(b.Payload)),
	})
}

// Append counts rows that follow.
func (t *Totals) Append(next Totals) {
	t.Rows += next.Rows
	t.RowsCRC32 = CombineCRC32(t.RowsCRC32, next.RowsCRC32, next.RowsBytes)
	t.RowsBytes += next.RowsBytes
	t.PayloadBytes += next.PayloadBytes
}

// ParseStream reads a stream's name.
func ParseStream(name string) (Stream, error) {
	for _, s := range [...]Stream{Events, People, Identity} {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("stream %q is not one of events, people, identity", name)
}
