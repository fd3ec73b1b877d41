package rowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// The first byte of an entry is its version. The project follows, as a varint, like all
// other numbers, and then:
//
//	version 1    rows, their lines
//	version 2    dated rows, their lines
//	version 3    fragments, dated rows, payloads of the fragments, lines of the rows
//
//	rows         their number; of each kind, flags, time, length and key
//	dated rows   the same, and between length and key twice the date that the key is
//	             kept under, plus one if the row is undated
//	fragments    their number; of each kind, flags, twice the date plus one as above, CRC-32
//	             of the lines as 4 bytes, length of the payload, and its rows: their number;
//	             of each flags, time less that of the row before, length and key
//
// An entry has the least version that can hold it.
const (
	entryVersion          = 1
	entryVersionDates     = 2
	entryVersionFragments = 3
)

// dated reports whether one of the rows needs an entry of version 2.
func dated(rows []journal.Row) bool {
	return slices.ContainsFunc(rows, func(r journal.Row) bool { return r.KeyDate != 0 || r.Undated })
}

func appendKeyDate(dst []byte, date journal.Day, undated bool) []byte {
	n := uint64(uint32(date)) << 1
	if undated {
		n |= 1
	}
	return binary.AppendUvarint(dst, n)
}

// keyDate returns the inverse of appendKeyDate.
func (d *decoder) keyDate() (date journal.Day, undated bool) {
	n := d.uvarint()
	return journal.Day(n >> 1), n&1 != 0
}

var errEntry = errors.New("the entry is not one of rows")

// entry is an entry in parts: its lines and payloads stay where they are.
type entry struct {
	head  []byte
	parts [][]byte
}

// set makes the entry of a chunk. Lines that lie side by side are one part.
func (e *entry) set(project int64, c journal.Chunk) {
	version := byte(entryVersion)
	switch {
	case len(c.Fragments) > 0:
		version = entryVersionFragments
	case dated(c.Rows):
		version = entryVersionDates
	}
	e.head = append(e.head[:0], version)
	e.head = binary.AppendVarint(e.head, project)
	if version == entryVersionFragments {
		e.head = binary.AppendUvarint(e.head, uint64(len(c.Fragments)))
		for _, f := range c.Fragments {
			e.fragment(f)
		}
	}
	e.rows(c.Rows, version)
	e.parts = append(e.parts[:0], e.head)
	for _, f := range c.Fragments {
		e.parts = append(e.parts, f.Payload)
	}
	for i := 0; i < len(c.Rows); {
		from, to := c.Rows[i].Offset, c.Rows[i].Offset+c.Rows[i].Length
		for i++; i < len(c.Rows) && c.Rows[i].Offset == to; i++ {
			to += c.Rows[i].Length
		}
		e.parts = append(e.parts, c.Data[from:to])
	}
}

// rows appends rows to the head.
func (e *entry) rows(rows []journal.Row, version byte) {
	e.head = binary.AppendUvarint(e.head, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		e.head = binary.AppendUvarint(e.head, uint64(r.Kind))
		e.head = binary.AppendUvarint(e.head, uint64(r.Flags))
		e.head = binary.AppendVarint(e.head, r.Time)
		e.head = binary.AppendUvarint(e.head, uint64(r.Length))
		if version != entryVersion {
			e.head = appendKeyDate(e.head, r.KeyDate, r.Undated)
		}
		e.head = append(e.head, r.Key[:]...)
	}
}

// fragment appends a fragment, without its payload, to the head.
func (e *entry) fragment(f *journal.Fragment) {
	e.head = binary.AppendUvarint(e.head, uint64(f.Kind))
	e.head = binary.AppendUvarint(e.head, uint64(f.Flags))
	e.head = appendKeyDate(e.head, f.KeyDate, f.Undated)
	e.head = binary.LittleEndian.AppendUint32(e.head, f.RowsCRC32)
	e.head = binary.AppendUvarint(e.head, uint64(len(f.Payload)))
	e.head = binary.AppendUvarint(e.head, uint64(len(f.Entries)))
	before := int64(0)
	for i := range f.Entries {
		r := &f.Entries[i]
		e.head = binary.AppendUvarint(e.head, uint64(r.Flags))
		e.head = binary.AppendVarint(e.head, r.Time-before)
		e.head = binary.AppendUvarint(e.head, uint64(r.Length))
		e.head = append(e.head, r.Key[:]...)
		before = r.Time
	}
}

// projectOf returns the project of an entry.
func projectOf(b []byte) (int64, error) {
	if len(b) == 0 || b[0] < entryVersion || b[0] > entryVersionFragments {
		return 0, fmt.Errorf("%w: it was perhaps written by a newer host", errEntry)
	}
	d := decoder{b: b[1:]}
	if project := d.varint(); !d.failed {
		return project, nil
	}
	return 0, errEntry
}

// Bounds of what an entry may say of itself. Fewer bytes stand for no row, and no
// fragment has more rows than the journal makes a block of.
const (
	leastRow    = 4 + len(journal.Key{})
	mostRowsLen = 1 << 30 // bytes of the rows of a fragment
)

// decodeEntry reads an entry. The chunk's rows are appended to rows; its data
// is the entry's. Fragments have memory of their own. It allocates no more than
// some times the bytes of the entry, whatever these are.
func decodeEntry(b []byte, rows []journal.Row) (project int64, chunk journal.Chunk, err error) {
	if project, err = projectOf(b); err != nil {
		return 0, chunk, err
	}
	d := decoder{b: b[1:]}
	d.varint()
	var payloads []int
	if b[0] == entryVersionFragments {
		chunk.Fragments, payloads = d.fragments()
	}
	chunk.Rows = d.rows(rows, b[0])
	for i, f := range chunk.Fragments {
		f.Payload = slices.Clone(d.bytes(payloads[i]))
	}
	length := 0
	for i := range chunk.Rows[len(rows):] {
		r := &chunk.Rows[len(rows)+i]
		r.Offset = length
		length += r.Length
	}
	if d.failed || length != d.left() {
		return 0, journal.Chunk{}, errEntry
	}
	chunk.Data = b[len(b)-length:]
	return project, chunk, nil
}

// decoder reads the parts of an entry. After a failure it returns zeros. Its place is a
// number, since a slice that moves costs the collector of garbage a look at each step.
type decoder struct {
	b      []byte
	at     int
	failed bool
}

// left returns how many bytes are left.
func (d *decoder) left() int { return len(d.b) - d.at }

// rows appends the rows of an entry, without their places.
func (d *decoder) rows(rows []journal.Row, version byte) []journal.Row {
	for range d.count(leastRow) {
		r := journal.Row{Kind: journal.Kind(d.uvarint()), Flags: batch.Flags(d.uvarint()), Time: d.varint(), Length: d.length(d.left())}
		if version != entryVersion {
			r.KeyDate, r.Undated = d.keyDate()
		}
		copy(r.Key[:], d.bytes(len(r.Key)))
		rows = append(rows, r)
	}
	return rows
}

// fragments returns the fragments of an entry without their payloads, and the lengths of
// these.
func (d *decoder) fragments() (all []*journal.Fragment, payloads []int) {
	for range d.count(leastRow) {
		f := &journal.Fragment{}
		f.Kind, f.Flags = journal.Kind(d.uvarint()), batch.Flags(d.uvarint())
		f.KeyDate, f.Undated = d.keyDate()
		if sum := d.bytes(4); sum != nil {
			f.RowsCRC32 = binary.LittleEndian.Uint32(sum)
		}
		payloads = append(payloads, d.length(d.left()))
		f.Rows = d.count(leastRow - 1)
		f.Entries = make([]journal.FragmentRow, f.Rows)
		time := int64(0)
		for i := range f.Entries {
			r := &f.Entries[i]
			r.Flags = batch.Flags(d.uvarint())
			time += d.varint()
			r.Time, r.Length = time, int32(d.length(mostRowsLen-f.RowsBytes))
			f.RowsBytes += int(r.Length)
			copy(r.Key[:], d.bytes(len(r.Key)))
		}
		if f.Rows == 0 || d.failed {
			d.fail()
			return nil, nil
		}
		all = append(all, f)
	}
	return all, payloads
}

// count reads the number of items of at least some bytes each: no more than there is room
// for.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(d.left()/least) {
		d.fail()
		return 0
	}
	return int(n)
}

// length reads a length, up to most.
func (d *decoder) length(most int) int {
	n := d.uvarint()
	if n > uint64(most) {
		d.fail()
		return 0
	}
	return int(n)
}

// bytes takes the next n bytes; nil if there are fewer.
func (d *decoder) bytes(n int) []byte {
	if n > d.left() {
		d.fail()
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) fail() { d.failed, d.at = true, len(d.b) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b[d.at:])
	d.advance(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b[d.at:])
	d.advance(n)
	return v
}

func (d *decoder) advance(n int) {
	if n <= 0 {
		d.fail()
		return
	}
	d.at += n
}
