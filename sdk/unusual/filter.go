package unusual

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"

	"github.com/klauspost/compress/flate"

	"github.com/penstock-io/penstock/sdk/batch"
)

// chunk is the approximate size of the rows, uncompressed, of one batch that a
// Filter makes.
const chunk = 1 << 20

// Filter fits the batches of one partition to a destination. It is for one
// goroutine, and keeps its buffers from batch to batch.
type Filter struct {
	rules   Rules
	all     bool
	row     rewriter
	changed map[string]uint64

	in, rows []byte
	payload  bytes.Buffer
	deflate  *flate.Writer
}

// NewFilter returns a filter. With all it decodes every batch, not only those
// whose flags say so.
func NewFilter(rules Rules, all bool) *Filter {
	return &Filter{rules: rules, all: all, row: rewriter{rules: rules}, changed: make(map[string]uint64)}
}

// Batch passes a batch to emit, fitted to the destination: unchanged if none of its
// rows had to change, else as one or more batches with the remaining and changed
// rows. reject is called with each row that is rejected: its index in the
// partition, the reason, and the row as it came (batch.Reader.Reject has this
// form). A batch is valid during the call of emit.
func (f *Filter) Batch(b *batch.Batch, reject func(row uint64, reason string, line []byte) error, emit func(*batch.Batch) error) error {
	if !f.all && b.Flags&f.rules.flags() == 0 {
		return emit(b)
	}
	var err error
	if f.in, err = b.AppendRows(f.in[:0]); err != nil {
		return err
	}
	needed, err := f.needsChange()
	if err != nil {
		return fmt.Errorf("batch at row %d: %w", b.First, err)
	}
	if !needed {
		return emit(b)
	}
	return f.rewrite(b, reject, emit)
}

// Changed returns the number of changed rows so far, by reason; nil if there are
// none.
func (f *Filter) Changed() map[string]uint64 {
	if len(f.changed) == 0 {
		return nil
	}
	return maps.Clone(f.changed)
}

// needsChange reports whether some row must be changed or rejected.
func (f *Filter) needsChange() (bool, error) {
	for rest := f.in; len(rest) > 0; {
		line, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			return false, fmt.Errorf("%w: its last row has no newline", batch.ErrCorrupt)
		}
		_, changes, err := f.row.row(line)
		var refused *refusal
		if err != nil && !errors.As(err, &refused) {
			return false, err
		}
		if changes != 0 || err != nil {
			return true, nil
		}
		rest = after
	}
	return false, nil
}

// rewrite renders all rows, compresses them again and emits them.
func (f *Filter) rewrite(b *batch.Batch, reject func(uint64, string, []byte) error, emit func(*batch.Batch) error) error {
	f.rows = f.rows[:0]
	count, index := 0, b.First
	for rest := f.in; len(rest) > 0; index++ {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		row, changes, err := f.row.row(line)
		var refused *refusal
		if errors.As(err, &refused) {
			if err := reject(index, refused.reason, line); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", index, err)
		}
		if len(f.rows)+len(row) >= chunk {
			if err := f.flush(count, emit); err != nil {
				return err
			}
			count = 0
		}
		if len(row) > longRow && f.tooLong(row) {
			if err := reject(index, "row is too long to be changed", line); err != nil {
				return err
			}
			continue
		}
		changes.Reasons(func(reason string) { f.changed[reason]++ })
		f.rows = append(append(f.rows, row...), '\n')
		count++
	}
	return f.flush(count, emit)
}

// longRow is a length up to which the compressed row surely fits a batch.
const longRow = batch.MaxPayload - 4<<10

// tooLong reports whether a row does not fit a batch of its own.
func (f *Filter) tooLong(row []byte) bool {
	f.rows = append(append(f.rows[:0], row...), '\n')
	b, err := f.compress(1)
	f.rows = f.rows[:0]
	return err != nil || len(b.Payload) > batch.MaxPayload || b.RowsBytes > batch.MaxRowsBytes
}

// flush emits the rows that are held.
func (f *Filter) flush(count int, emit func(*batch.Batch) error) error {
	if count == 0 {
		return nil
	}
	b, err := f.compress(count)
	f.rows = f.rows[:0]
	if err != nil {
		return err
	}
	return emit(b)
}

// compress makes a batch of the rows that are held.
func (f *Filter) compress(count int) (*batch.Batch, error) {
	f.payload.Reset()
	if f.deflate == nil {
		w, err := flate.NewWriter(&f.payload, flate.BestSpeed)
		if err != nil {
			return nil, fmt.Errorf("compress rows: %w", err)
		}
		f.deflate = w
	} else {
		f.deflate.Reset(&f.payload)
	}
	_, err := f.deflate.Write(f.rows)
	if err == nil {
		err = f.deflate.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("compress rows: %w", err)
	}
	return &batch.Batch{
		Rows: count, Payload: f.payload.Bytes(), RowsBytes: len(f.rows), RowsCRC32: crc32.ChecksumIEEE(f.rows),
	}, nil
}
