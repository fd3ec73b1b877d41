package rowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// The first byte of an entry is its version. The project and the number of rows
// follow, then for each row its kind, flags, time, length and key, then the
// rows' lines; numbers are varints.
//
// In an entry of version 2 each row has one more number between its length and
// its key: twice the date that the key is kept under, plus one if the row is
// undated. Most entries have no row that needs it and are of version 1.
const (
	entryVersion      = 1
	entryVersionDates = 2
)

// dated reports whether one of the rows needs an entry of version 2.
func dated(rows []journal.Row) bool {
	return slices.ContainsFunc(rows, func(r journal.Row) bool { return r.KeyDate != 0 || r.Undated })
}

func appendKeyDate(dst []byte, r *journal.Row) []byte {
	n := uint64(uint32(r.KeyDate)) << 1
	if r.Undated {
		n |= 1
	}
	return binary.AppendUvarint(dst, n)
}

func setKeyDate(r *journal.Row, n uint64) {
	r.KeyDate, r.Undated = journal.Day(n>>1), n&1 != 0
}

var errEntry = errors.New("the entry is not one of rows")

// entry is an entry in parts: its lines stay where they are.
type entry struct {
	head  []byte
	parts [][]byte
}

// set makes the entry of rows. Lines that lie side by side are one part.
func (e *entry) set(project int64, rows []journal.Row, data []byte) {
	version := byte(entryVersion)
	if dated(rows) {
		version = entryVersionDates
	}
	e.head = append(e.head[:0], version)
	e.head = binary.AppendVarint(e.head, project)
	e.head = binary.AppendUvarint(e.head, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		e.head = binary.AppendUvarint(e.head, uint64(r.Kind))
		e.head = binary.AppendUvarint(e.head, uint64(r.Flags))
		e.head = binary.AppendVarint(e.head, r.Time)
		e.head = binary.AppendUvarint(e.head, uint64(r.Length))
		if version == entryVersionDates {
			e.head = appendKeyDate(e.head, r)
		}
		e.head = append(e.head, r.Key[:]...)
	}
	e.parts = append(e.parts[:0], e.head)
	for i := 0; i < len(rows); {
		from, to := rows[i].Offset, rows[i].Offset+rows[i].Length
		for i++; i < len(rows) && rows[i].Offset == to; i++ {
			to += rows[i].Length
		}
		e.parts = append(e.parts, data[from:to])
	}
}

// projectOf returns the project of an entry.
func projectOf(b []byte) (int64, error) {
	if len(b) == 0 || b[0] != entryVersion && b[0] != entryVersionDates {
		return 0, fmt.Errorf("%w: it was perhaps written by a newer host", errEntry)
	}
	d := decoder{b: b[1:]}
	if project := d.varint(); !d.failed {
		return project, nil
	}
	return 0, errEntry
}

// decodeEntry reads an entry. The chunk's rows are appended to rows; its data
// is the entry's.
func decodeEntry(b []byte, rows []journal.Row) (project int64, chunk journal.Chunk, err error) {
	if project, err = projectOf(b); err != nil {
		return 0, chunk, err
	}
	d := decoder{b: b[1:]}
	d.varint()
	count := d.uvarint()
	if d.failed || count > uint64(len(d.b)) {
		return 0, chunk, errEntry
	}
	offset := 0
	for range count {
		r := journal.Row{Offset: offset, Kind: journal.Kind(d.uvarint()), Flags: batch.Flags(d.uvarint()), Time: d.varint()}
		length := d.uvarint()
		if b[0] == entryVersionDates {
			setKeyDate(&r, d.uvarint())
		}
		if d.failed || length > uint64(len(d.b)) || len(d.b) < len(r.Key) {
			return 0, chunk, errEntry
		}
		r.Length = int(length)
		d.b = d.b[copy(r.Key[:], d.b):]
		offset += r.Length
		rows = append(rows, r)
	}
	if offset != len(d.b) {
		return 0, chunk, errEntry
	}
	return project, journal.Chunk{Rows: rows, Data: d.b}, nil
}

type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.advance(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.advance(n)
	return v
}

func (d *decoder) advance(n int) {
	if n <= 0 {
		d.failed, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}
