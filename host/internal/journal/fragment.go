package journal

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Fragment is rows of one partition and one filing, in order, that their producer has
// compressed. The journal claims their keys and takes the payload as it is, unless it has
// some of the rows already:
//
//	rows   a b c d          none of them is in the journal: the payload is stored
//	rows   a b c d          b is: the payload is inflated, and a c d compressed again
//	rows   a b c d          all of them are: the fragment is dropped
//
// A fragment that is handed to Append belongs to the journal.
type Fragment struct {
	Block                 // of all rows
	Kind    Kind          // KindEvents; rows of other kinds are taken one by one
	KeyDate Day           // as in Row, of all rows
	Undated bool          // as in Row, of all rows
	Entries []FragmentRow // of each row, in order
}

// FragmentRow describes a row of a Fragment.
type FragmentRow struct {
	Key    Key
	Time   int64 // unix seconds
	Length int32 // in bytes, newline included
	Flags  batch.Flags
}

// row returns the entry as a Row at an offset.
func (f *Fragment) row(i, offset int) Row {
	e := &f.Entries[i]
	return Row{
		Offset: offset, Length: int(e.Length), Time: e.Time, Key: e.Key, Kind: f.Kind, Flags: e.Flags, KeyDate: f.KeyDate, Undated: f.Undated,
	}
}

// CorruptFragmentError ends a writer: one of the fragments that it was given does not hold
// the rows that it describes, because it was compressed wrong. The fragment is not sealed.
// Given again, it ends the next writer as well.
type CorruptFragmentError struct {
	Rows int // of the fragment
	Err  error
}

func (e *CorruptFragmentError) Error() string {
	return fmt.Sprintf("a fragment of %d rows does not hold them: %v", e.Rows, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptFragmentError) Unwrap() error { return e.Err }

// check returns an error if the entries do not describe the rows of the block.
func (f *Fragment) check() error {
	length := 0
	for i := range f.Entries {
		length += int(f.Entries[i].Length)
	}
	if len(f.Entries) != f.Rows || length != f.RowsBytes {
		return &CorruptFragmentError{f.Rows, fmt.Errorf("it has %d bytes of rows, and entries of %d rows, %d bytes", f.RowsBytes, len(f.Entries), length)}
	}
	return nil
}

// putFragment hands a fragment to the workers, after the rows of its place that came
// before it.
func (w *Writer) putFragment(ctx context.Context, f *Fragment) error {
	if err := f.check(); err != nil {
		return err
	}
	if len(f.Entries) == 0 {
		return nil
	}
	if !w.inOnePlace(f) {
		return w.putInflated(ctx, f)
	}
	first := f.row(0, 0)
	p := w.part(&first)
	if err := w.flush(ctx, p); err != nil {
		return err
	}
	if err := w.hand(ctx, p, job{packed: &f.Block, rows: f.Entries}); err != nil {
		return err
	}
	w.open.rows += int64(f.Rows)
	w.open.bytes += int64(f.RowsBytes)
	return nil
}

// inOnePlace reports whether all rows of a fragment belong in one block. Those of kinds
// whose order matters may not: see part and keepOrder.
func (w *Writer) inOnePlace(f *Fragment) bool {
	if f.Kind != KindEvents {
		return false
	}
	_, _, from, until := w.zone.span(f.Entries[0].Time)
	for i := range f.Entries {
		if t := f.Entries[i].Time; t < from || t >= until {
			return false
		}
	}
	return true
}

// putInflated takes the rows of a fragment one by one.
func (w *Writer) putInflated(ctx context.Context, f *Fragment) error {
	data, err := segment.Decode(nil, f.Block)
	if err != nil {
		return &CorruptFragmentError{f.Rows, err}
	}
	offset := 0
	for i := range f.Entries {
		row := f.row(i, offset)
		if err := w.put(ctx, &row, data); err != nil {
			return err
		}
		offset += row.Length
	}
	return nil
}
