package lake

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/penstock-io/penstock/sdk"
)

// castagnoli is the table of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// measure counts the bytes that are written through it and computes both of
// their checksums: services keep the one or the other.
type measure struct {
	w      io.Writer
	size   int64
	crc32  uint32
	crc32c uint32
}

func (m *measure) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.size += int64(n)
	m.crc32 = crc32.Update(m.crc32, crc32.IEEETable, p[:n])
	m.crc32c = crc32.Update(m.crc32c, castagnoli, p[:n])
	return n, err
}

// state is an object as the store has it.
type state struct {
	version Version
	facts   sdk.InventoryFacts
	sums    Sums
	problem string // why the rows cannot be counted; empty: they can, or were not
}

// inspect returns the state of an object, or ErrNotFound. It reads the object if
// the service keeps no checksum of it, and with deep counts its rows.
func (l *Lake) inspect(ctx context.Context, name string, stream sdk.Stream, deep bool) (*state, error) {
	for try := 1; ; try++ {
		info, err := l.store.Stat(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		s := &state{version: info.Version, sums: info.Sums}
		s.facts.StoredBytes = uint64(info.Size)
		if deep || info.Sums == (Sums{}) {
			err = l.read(ctx, name, stream, s, deep)
		}
		switch {
		case err == nil:
			s.facts.Checksum = s.sums.text()
			return s, nil
		case errors.Is(err, ErrConflict) && try < conflictTries:
			continue // it was replaced while it was read
		case errors.Is(err, ErrConflict):
			err = sdk.Retryable(err, 0)
		}
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
}

// read computes the checksums of an object at the version of s. With deep it
// counts the rows too.
func (l *Lake) read(ctx context.Context, name string, stream sdk.Stream, s *state, deep bool) error {
	object := &ranges{ctx: ctx, store: l.store, name: name, version: s.version}
	m := &measure{w: io.Discard}
	r := io.TeeReader(object, m)
	if deep {
		if err := l.count(&Stored{ctx: ctx, store: l.store, name: name, version: s.version, size: int64(s.facts.StoredBytes)}, r, stream, s); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if object.err != nil && !errors.Is(object.err, io.EOF) {
		return object.err
	}
	s.sums = Sums{CRC32: &m.crc32, CRC32C: &m.crc32c}
	s.facts.StoredBytes = uint64(m.size)
	return nil
}

// count counts the rows of an object. It returns errors of the store; faults of the
// object become the state's problem.
func (l *Lake) count(o *Stored, r io.Reader, stream sdk.Stream, s *state) error {
	t, err := l.format.Count(o, r, stream)
	if o.err != nil {
		return o.err
	}
	s.facts.Rows, s.facts.RowsBytes, s.facts.RowsCRC32 = t.Rows, t.RowsBytes, t.RowsCRC32
	if s.facts.Counted = err == nil; err != nil {
		s.problem = err.Error()
	}
	return nil
}

// forget removes the size and checksum of the rows if the record does not have
// them, so that the two can be compared.
func (s *state) forget(f File) {
	if f.RowsBytes == 0 {
		s.facts.RowsBytes, s.facts.RowsCRC32 = 0, 0
	}
}

// rangeSize is the number of bytes that one call reads of an object.
const rangeSize = 8 << 20

// ranges reads one version of an object, range by range.
type ranges struct {
	ctx     context.Context
	store   Store
	name    string
	version Version
	offset  int64
	left    []byte // of the range that was read last
	err     error  // of the last call, or io.EOF
}

func (r *ranges) Read(p []byte) (int, error) {
	if len(r.left) == 0 && r.err == nil {
		r.left, r.err = r.store.ReadRange(r.ctx, r.name, r.version, r.offset, rangeSize)
		r.offset += int64(len(r.left))
		if r.err == nil && len(r.left) == 0 {
			r.err = io.EOF
		}
	}
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// text is the form of the checksum that is known; CRC-32 if both are, which is
// the one that S3 returns of objects that need not be read.
func (s Sums) text() string {
	switch {
	case s.CRC32 != nil:
		return fmt.Sprintf("crc32:%08x", *s.CRC32)
	case s.CRC32C != nil:
		return fmt.Sprintf("crc32c:%08x", *s.CRC32C)
	}
	return ""
}

// like returns those checksums of a file that are known of an object, so that
// the texts of both can be compared.
func (f File) like(s Sums) Sums {
	var sums Sums
	if s.CRC32 != nil || s.CRC32C == nil {
		sums.CRC32 = &f.StoredCRC32
	}
	if s.CRC32C != nil {
		sums.CRC32C = &f.StoredCRC32C
	}
	return sums
}

// facts returns a file as the record describes it, with the checksum that is
// known of the object too.
func (f File) facts(s Sums) *sdk.InventoryFacts {
	return &sdk.InventoryFacts{
		Rows: f.Rows, RowsBytes: f.RowsBytes, RowsCRC32: f.RowsCRC32, StoredBytes: f.StoredBytes, Checksum: f.like(s).text(),
	}
}

// whole reports whether an object is the file. Rows are compared if they were
// counted.
func (s *state) whole(f File) bool {
	if s.problem != "" || s.facts.StoredBytes != f.StoredBytes || s.sums.text() != f.like(s.sums).text() {
		return false
	}
	switch {
	case !s.facts.Counted:
		return true
	case f.RowsBytes == 0: // not known
		return s.facts.Rows == f.Rows
	default:
		return s.facts.Rows == f.Rows && s.facts.RowsBytes == f.RowsBytes && s.facts.RowsCRC32 == f.RowsCRC32
	}
}
