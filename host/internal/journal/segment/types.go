package segment

import (
	"cmp"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Day is a calendar date: days since 1970-01-01.
type Day int32

// String is YYYY-MM-DD.
func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// Time is the date's first instant, as if in UTC.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// ParseDay reads YYYY-MM-DD.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q is not YYYY-MM-DD", s)
	}
	return DayOf(t.Unix()), nil
}

// DayOf is the UTC date of an instant in unix seconds.
func DayOf(seconds int64) Day {
	if seconds < 0 {
		seconds -= 86399
	}
	return Day(seconds / 86400)
}

// Kind is the kind of the rows of a block.
type Kind uint8

// The kinds; the values are part of the file format.
const (
	KindEvents   Kind = 1
	KindProfiles Kind = 2 // profile operations
	KindLinks    Kind = 3 // identity links
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindEvents:
		return "events"
	case KindProfiles:
		return "profiles"
	case KindLinks:
		return "links"
	default:
		return fmt.Sprintf("unknown kind %d", uint8(k))
	}
}

// Partition holds the properties that all rows of a block share.
type Partition struct {
	Kind     Kind
	UTCDate  Day
	ZoneDate Day // in the project's time zone
}

// Compare orders partitions as they lie in a segment.
func (p Partition) Compare(q Partition) int {
	return cmp.Or(cmp.Compare(p.Kind, q.Kind), cmp.Compare(p.UTCDate, q.UTCDate), cmp.Compare(p.ZoneDate, q.ZoneDate))
}

// Block is some rows, compressed: a raw DEFLATE fragment, byte-aligned, its
// own dictionary, ended by a sync flush, never the final bit; or several such
// fragments, one after the other.
type Block struct {
	Rows      int
	RowsBytes int    // uncompressed
	RowsCRC32 uint32 // IEEE, of the rows uncompressed
	Flags     batch.Flags
	Payload   []byte
	Checksum  uint32 // CRC-32C of the payload as stored; set on blocks that were read
}
