package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk/batch"
)

// ErrDamaged is returned for bytes that are not a file of the stream.
var ErrDamaged = errors.New("not a Parquet file of this stream")

// Read yields the rows of a file in order. A row is valid until yield returns. The
// errors of r are returned as they are, and faults of the bytes as ErrDamaged; so
// are pages, row groups and footers that are larger than those of a Writer, since
// memory must not follow the sizes that a file declares.
func Read(r io.ReaderAt, size int64, stream batch.Stream, yield func(*columns.Row) error) (err error) {
	in := &source{r: r}
	defer func() {
		if p := recover(); p != nil {
			err = in.failed(fmt.Errorf("%w: %v", ErrDamaged, p))
		}
	}()
	f, err := open(in, size)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := sameColumns(f, stream); err != nil {
		return err
	}
	for i := range f.NumRowGroups() {
		g := f.RowGroup(i)
		step, err := checkGroup(g, size)
		if err != nil {
			return in.failed(err)
		}
		if err := readGroup(in, f, g, step, columns.Of(stream), yield); err != nil {
			return err
		}
	}
	return nil
}

// ID returns the id that a file was written with; empty: none.
func ID(r io.ReaderAt, size int64) (id string, err error) {
	in := &source{r: r}
	defer func() {
		if p := recover(); p != nil {
			err = in.failed(fmt.Errorf("%w: %v", ErrDamaged, p))
		}
	}()
	f, err := open(in, size)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if v := f.MetaData().KeyValueMetadata().FindValue(idKey); v != nil {
		id = *v
	}
	return id, nil
}

// source is a ReaderAt that keeps its first error.
type source struct {
	r   io.ReaderAt
	err error
}

func (s *source) ReadAt(p []byte, at int64) (int, error) {
	n, err := s.r.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = err
	}
	return n, err
}

// failed returns the error of the source if it has one, else err.
func (s *source) failed(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

func open(in *source, size int64) (*file.Reader, error) {
	found, err := readFooter(in, size)
	if err != nil {
		return nil, in.failed(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	f, err := file.NewParquetReader(io.NewSectionReader(in, 0, size), file.WithReadProps(readerProperties()), file.WithMetadata(found))
	if err != nil {
		return nil, in.failed(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return f, nil
}

func sameColumns(f *file.Reader, stream batch.Stream) error {
	s, want := f.MetaData().Schema, columns.Of(stream)
	if s.NumColumns() != len(want) {
		return fmt.Errorf("%w: it has %d columns, not %d", ErrDamaged, s.NumColumns(), len(want))
	}
	for i, c := range want {
		physical := parquet.Types.ByteArray
		if c.Kind == columns.Integer {
			physical = parquet.Types.Int64
		}
		if got := s.Column(i); got.Name() != c.Name || got.PhysicalType() != physical || got.MaxDefinitionLevel() != 1 || got.MaxRepetitionLevel() != 0 {
			return fmt.Errorf("%w: column %d is %s %s", ErrDamaged, i, got.Name(), got.PhysicalType())
		}
	}
	return nil
}

// maxStep is the largest number of rows that are read of each column at a time.
const maxStep = 512

// column reads the values of one column of a row group.
type column struct {
	texts    *file.ByteArrayColumnChunkReader
	integers *file.Int64ColumnChunkReader
	levels   []int16
	text     []parquet.ByteArray
	integer  []int64
}

// readGroup yields the rows of a row group, and holds step of them at a time.
func readGroup(in *source, f *file.Reader, g *file.RowGroupReader, step int64, cols []columns.Column, yield func(*columns.Row) error) error {
	readers := make([]column, len(cols))
	for i := range cols {
		made, err := g.GetColumnPageReader(i)
		if err != nil {
			return in.failed(fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		//lint:ignore SA1019 pages are bounded before they are decoded, which no other function lets a caller do
		chunk := file.NewColumnReader(f.MetaData().Schema.Column(i), &pages{PageReader: made}, memory.DefaultAllocator, f.BufferPool())
		c := &readers[i]
		c.levels = make([]int16, step)
		switch chunk := chunk.(type) {
		case *file.ByteArrayColumnChunkReader:
			c.texts, c.text = chunk, make([]parquet.ByteArray, step)
		case *file.Int64ColumnChunkReader:
			c.integers, c.integer = chunk, make([]int64, step)
		}
	}
	row := columns.Row{Values: make([]columns.Value, len(cols))}
	for left := g.NumRows(); left > 0; {
		n := min(left, step)
		for i := range readers {
			if err := readers[i].read(in, n); err != nil {
				return err
			}
		}
		if err := join(readers, int(n), &row, yield); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// read reads the next n values.
func (c *column) read(in *source, n int64) (err error) {
	total, size := int64(0), 0
	for total < n && err == nil {
		var got int64
		if c.texts != nil {
			filled := notNull(c.levels[:total])
			var values int
			got, values, err = c.texts.ReadBatchInPage(n-total, c.text[filled:], c.levels[total:], nil)
			for i := filled; i < filled+values; i++ {
				// The value lies in the memory of its page, which is used again for the next
				// one.
				c.text[i] = append(parquet.ByteArray(nil), c.text[i]...)
				// A long text in a dictionary may stand for many rows.
				if size += len(c.text[i]); size > largestGroup {
					return fmt.Errorf("%w: %d rows have more than %d bytes", ErrDamaged, n, largestGroup)
				}
			}
		} else {
			got, _, err = c.integers.ReadBatchInPage(n-total, c.integer[notNull(c.levels[:total]):], c.levels[total:], nil)
		}
		if got == 0 && err == nil {
			err = errors.New("a column ends early")
		}
		total += got
	}
	if err != nil {
		return in.failed(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return nil
}

func notNull(levels []int16) int {
	n := 0
	for _, l := range levels {
		n += int(l)
	}
	return n
}

// join yields n rows from the values of all columns.
func join(readers []column, n int, row *columns.Row, yield func(*columns.Row) error) error {
	next := make([]int, len(readers))
	for r := range n {
		for i := range readers {
			c, v := &readers[i], &row.Values[i]
			*v = columns.Value{}
			switch {
			case c.levels[r] == 0:
				v.Null = true
				continue
			case c.texts != nil:
				v.Text = c.text[next[i]]
			default:
				v.Integer = c.integer[next[i]]
			}
			next[i]++
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}
