package columns

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// Reject is called for a row that cannot be stored, as batch.Reader.Reject is.
type Reject = func(row uint64, reason string, line []byte) error

// Options of a Decoder.
type Options struct {
	Stream batch.Stream
	Limit  Limit
	// Unusual are the rules for rows that the destination's JSON functions cannot
	// read. nil: all rows pass.
	Unusual *unusual.Rules
}

// Decoder reads the rows of the batches of one object. It is for one goroutine.
type Decoder struct {
	options  Options
	columns  []Column
	splitter *splitter
	filter   *unusual.Filter // nil: no rules
	row      Row
	data     []byte

	totals  batch.Totals
	changed map[string]uint64
	inexact bool // a row was rejected or changed, or AppendLine renders it in other bytes
}

// NewDecoder returns a decoder.
func NewDecoder(o Options) *Decoder {
	d := &Decoder{options: o, columns: Of(o.Stream), splitter: newSplitter(o.Stream), changed: make(map[string]uint64)}
	if o.Unusual != nil {
		d.filter = unusual.NewFilter(*o.Unusual, false)
	}
	return d
}

// Batch yields the rows of a batch in order, and passes those that cannot be
// stored to reject. A row, and the memory of its values, is valid until Batch
// returns; the Row itself until yield returns.
func (d *Decoder) Batch(b *batch.Batch, reject Reject, yield func(*Row) error) error {
	d.splitter.reset()
	d.data = d.data[:0]
	if d.filter == nil {
		return d.rows(b, func(row uint64) uint64 { return b.First + row }, reject, yield)
	}
	// The filter may make several batches without the rows that it rejects.
	var gaps []uint64
	passed := uint64(0)
	before := d.filter.Changed()
	err := d.filter.Batch(b, func(row uint64, reason string, line []byte) error {
		gaps = append(gaps, row)
		d.inexact = true
		return reject(row, reason, line)
	}, func(part *batch.Batch) error {
		d.inexact = d.inexact || part != b
		from := passed
		passed += uint64(part.Rows)
		return d.rows(part, func(row uint64) uint64 { return original(b.First+from+row, gaps) }, reject, yield)
	})
	if !maps.Equal(before, d.filter.Changed()) {
		d.inexact = true
	}
	return err
}

// original returns the index of a row in the partition, from its index without
// the rows in gaps, which are in order.
func original(index uint64, gaps []uint64) uint64 {
	for _, gap := range gaps {
		if gap > index {
			break
		}
		index++
	}
	return index
}

// rows yields the rows of one batch. index returns the index in the partition.
func (d *Decoder) rows(b *batch.Batch, index func(uint64) uint64, reject Reject, yield func(*Row) error) error {
	// The rows of earlier parts of the batch stay valid.
	start := len(d.data)
	var err error
	if d.data, err = b.AppendRows(d.data); err != nil {
		return err
	}
	count := uint64(0)
	for rest := d.data[start:]; len(rest) > 0; count++ {
		line, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			return fmt.Errorf("%w: its last row has no newline", batch.ErrCorrupt)
		}
		rest = after
		exact, err := d.splitter.split(line, &d.row)
		if err != nil {
			return fmt.Errorf("row %d: %w", index(count), err)
		}
		changed, rejected := d.options.Limit.fit(d.columns, &d.row)
		if rejected != "" {
			d.inexact = true
			if err := reject(index(count), rejected, line); err != nil {
				return err
			}
			continue
		}
		if changed != "" {
			d.changed[changed]++
		}
		d.inexact = d.inexact || !exact || changed != ""
		d.totals.Rows++
		if err := yield(&d.row); err != nil {
			return err
		}
	}
	if count != uint64(b.Rows) {
		return fmt.Errorf("%w: it holds %d rows, not %d", batch.ErrCorrupt, count, b.Rows)
	}
	d.totals.RowsCRC32 = batch.CombineCRC32(d.totals.RowsCRC32, b.RowsCRC32, uint64(b.RowsBytes))
	d.totals.RowsBytes += uint64(b.RowsBytes)
	return nil
}

// Totals counts the stored rows. The size and checksum of their lines are 0, not
// known, unless AppendLine renders each row as it came.
func (d *Decoder) Totals() batch.Totals {
	if d.inexact {
		return batch.Totals{Rows: d.totals.Rows}
	}
	return d.totals
}

// Changed returns the number of changed rows by reason; nil if there are none.
func (d *Decoder) Changed() map[string]uint64 {
	all := maps.Clone(d.changed)
	if d.filter != nil {
		for reason, n := range d.filter.Changed() {
			all[reason] += n
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// Counter counts rows that are read back, in the form that AppendLine renders.
type Counter struct {
	stream batch.Stream
	line   []byte
	totals batch.Totals
}

// NewCounter returns a counter of rows of a stream.
func NewCounter(stream batch.Stream) *Counter { return &Counter{stream: stream} }

// Add counts a row.
func (c *Counter) Add(row *Row) {
	c.line = append(AppendLine(c.line[:0], c.stream, row, false), '\n')
	c.totals.Rows++
	c.totals.RowsBytes += uint64(len(c.line))
	c.totals.RowsCRC32 = crc32.Update(c.totals.RowsCRC32, crc32.IEEETable, c.line)
}

// Totals returns the totals so far.
func (c *Counter) Totals() batch.Totals { return c.totals }
