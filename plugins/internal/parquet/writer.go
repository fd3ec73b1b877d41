package parquet

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk/batch"
)

const (
	// groupBytes is the approximate size of the values of one row group.
	groupBytes       = 64 << 20
	compressionLevel = 1 // of Zstandard
	// idKey is the key of a file's id in its metadata.
	idKey = "penstock.id"
	// createdBy names the writer in files. It has no version of a library, so that
	// an upgrade does not change the bytes of a file by itself.
	createdBy = "penstock"
)

// Writer writes the rows of one file. It is for one goroutine.
type Writer struct {
	node  *schema.GroupNode
	meta  metadata.KeyValueMetadata
	names []string                    // of the columns
	file  *file.Writer                // nil: nothing is written yet
	group file.BufferedRowGroupWriter // nil: no row group is open
	sink  *sink
	held  []held // values that are not written yet, by column
	rows  int    // held
	size  int    // of the values of the open row group, in bytes
	err   error
}

// held are the values of one column that the next flush writes.
type held struct {
	kind     columns.Kind
	texts    []parquet.ByteArray
	integers []int64
	levels   []int16 // 1: the value is not null
}

// sink keeps the first error of the writer below, which the library turns into a
// panic in some places.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// Schema returns the schema of a stream's files.
func Schema(stream batch.Stream) (*schema.GroupNode, error) {
	var fields schema.FieldList
	for _, c := range columns.Of(stream) {
		if c.Kind == columns.Integer {
			fields = append(fields, schema.NewInt64Node(c.Name, parquet.Repetitions.Optional, -1))
			continue
		}
		node, err := schema.NewPrimitiveNodeLogical(c.Name, parquet.Repetitions.Optional, schema.StringLogicalType{}, parquet.Types.ByteArray, 0, -1)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		fields = append(fields, node)
	}
	return schema.NewGroupNode("schema", parquet.Repetitions.Required, fields, -1)
}

// properties are the encodings of columns. Ids of events are all different, and
// properties nearly so: a dictionary of them would be given up after a while.
// Minima of them tell a reader nothing. Columns of without have no dictionary either.
func properties(without []string) *parquet.WriterProperties {
	options := []parquet.WriterProperty{
		parquet.WithCreatedBy(createdBy),
		parquet.WithVersion(parquet.V1_0),
		parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithCompressionLevel(compressionLevel),
		parquet.WithDictionaryFor("properties", false), parquet.WithStatsFor("properties", false),
		parquet.WithDictionaryFor("insert_id", false), parquet.WithStatsFor("insert_id", false),
		parquet.WithDictionaryFor("time", false),
	}
	for _, name := range without {
		options = append(options, parquet.WithDictionaryFor(name, false))
	}
	return parquet.NewWriterProperties(options...)
}

// fewestSampled is the smallest number of values that tells whether ids repeat.
const fewestSampled = 500

// withoutDictionary returns the columns of ids whose values hardly repeat within a row
// group, judged by the rows that are held: a dictionary of them is larger than the
// values, and slower. Few values tell nothing, such as the user_id of a first batch in
// which hardly anybody is logged in; the column then has a dictionary.
func (w *Writer) withoutDictionary() (names []string) {
	group := float64(w.rows) * groupBytes / float64(max(w.size, 1)) // rows of a row group
	for i, name := range w.names {
		if w.held[i].kind == columns.ID && len(w.held[i].texts) >= fewestSampled && hardlyRepeat(w.held[i].texts, group) {
			names = append(names, name)
		}
	}
	return names
}

// hardlyRepeat reports whether the values of so many rows as a row group has are each
// there twice at most, on average. If n values are picks among N, some n²/2N of them are
// repetitions: with n = 1,200 picks and 80,000 rows in a group, 18 repetitions are those
// of 40,000 ids, each of which the group has twice.
func hardlyRepeat(values []parquet.ByteArray, group float64) bool {
	seen := make(map[string]struct{}, len(values))
	for _, v := range values {
		seen[string(v)] = struct{}{}
	}
	n, repetitions := float64(len(values)), float64(len(values)-len(seen))
	return repetitions < n*n/group
}

// NewWriter starts a file whose bytes go to w. id is kept in the file's metadata,
// for ID; empty: none is. The first bytes are written by Flush or Close.
func NewWriter(w io.Writer, stream batch.Stream, id string) (*Writer, error) {
	node, err := Schema(stream)
	if err != nil {
		return nil, err
	}
	out := &Writer{node: node, meta: metadata.NewKeyValueMetadata(), sink: &sink{w: w}}
	if id != "" {
		if err := out.meta.Append(idKey, id); err != nil {
			return nil, fmt.Errorf("keep the id: %w", err)
		}
	}
	for _, c := range columns.Of(stream) {
		out.names, out.held = append(out.names, c.Name), append(out.held, held{kind: c.Kind})
	}
	return out, nil
}

// begin writes the first bytes of the file, unless they are written.
func (w *Writer) begin() (err error) {
	if w.file == nil {
		w.file, err = file.NewParquetWriterWithError(w.sink, w.node, file.WithWriterProps(properties(w.withoutDictionary())), file.WithWriteMetadata(w.meta))
	}
	return err
}

// failed returns the error of the writer below if it has one, else err.
func (w *Writer) failed(err error) error {
	if err != nil && w.sink.err != nil {
		err = w.sink.err
	}
	if err != nil {
		w.err = err
	}
	return err
}

// Add adds a row. It keeps the row's values until Flush.
func (w *Writer) Add(row *columns.Row) {
	for i := range w.held {
		h, v := &w.held[i], &row.Values[i]
		level := int16(1)
		switch {
		case v.Null:
			level = 0
		case h.kind == columns.Integer:
			h.integers = append(h.integers, v.Integer)
			w.size += 8
		default:
			h.texts = append(h.texts, v.Text)
			w.size += len(v.Text) + 4
		}
		h.levels = append(h.levels, level)
	}
	w.rows++
}

// Flush encodes the added rows, and ends the row group if it is large.
func (w *Writer) Flush() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = w.failed(fmt.Errorf("write parquet: %v", r))
		}
	}()
	if w.err != nil || w.rows == 0 {
		return w.err
	}
	if err := w.begin(); err != nil {
		return w.failed(err)
	}
	if w.group == nil {
		if w.group, err = w.file.AppendBufferedRowGroupChecked(); err != nil {
			return w.failed(err)
		}
	}
	for i := range w.held {
		if err := w.column(i); err != nil {
			return w.failed(fmt.Errorf("write column %d: %w", i, err))
		}
	}
	w.rows = 0
	if w.size < groupBytes {
		return nil
	}
	return w.endGroup()
}

// column encodes the values that are held of one column.
func (w *Writer) column(i int) error {
	h := &w.held[i]
	chunk, err := w.group.Column(i)
	if err != nil {
		return err
	}
	switch chunk := chunk.(type) {
	case *file.Int64ColumnChunkWriter:
		_, err = chunk.WriteBatch(h.integers, h.levels, nil)
	case *file.ByteArrayColumnChunkWriter:
		_, err = chunk.WriteBatch(h.texts, h.levels, nil)
	default:
		err = fmt.Errorf("it has the type %T", chunk)
	}
	clear(h.texts) // the values are not kept alive
	h.texts, h.integers, h.levels = h.texts[:0], h.integers[:0], h.levels[:0]
	return err
}

func (w *Writer) endGroup() error {
	if w.group == nil {
		return nil
	}
	err := w.group.Close()
	w.group, w.size = nil, 0
	return w.failed(err)
}

// Close writes the end of the file. It does not close the writer below.
func (w *Writer) Close() (err error) {
	if err := w.Flush(); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = w.failed(fmt.Errorf("write parquet: %v", r))
		}
	}()
	if err := w.begin(); err != nil {
		return w.failed(err)
	}
	if err := w.endGroup(); err != nil {
		return err
	}
	return w.failed(w.file.Close())
}
