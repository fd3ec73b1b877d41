package parquet

import (
	"errors"
	"io"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// Format is the lake.Format of Parquet files.
type Format struct {
	// Limit is the longest string that readers can hold.
	Limit columns.Limit
	// Unusual are the rules for rows that readers cannot take. nil: all rows pass.
	Unusual *unusual.Rules
}

// Name implements lake.Format.
func (Format) Name() string { return "parquet" }

// Extension implements lake.Format.
func (Format) Extension() string { return ".parquet" }

// Encode implements lake.Format. From then on the process collects garbage more often:
// see collectAt.
func (f Format) Encode(w io.Writer, stream sdk.Stream, id string) (lake.Encoder, error) {
	limitGarbage()
	out, err := NewWriter(w, stream, id)
	if err != nil {
		return nil, err
	}
	return &encoder{
		writer:  out,
		decoder: columns.NewDecoder(columns.Options{Stream: stream, Limit: f.Limit, Unusual: f.Unusual}),
	}, nil
}

type encoder struct {
	writer  *Writer
	decoder *columns.Decoder
}

// Add implements lake.Encoder.
func (e *encoder) Add(b *batch.Batch, reject func(row uint64, reason string, line []byte) error) error {
	err := e.decoder.Batch(b, reject, func(row *columns.Row) error {
		e.writer.Add(row)
		return nil
	})
	if err != nil {
		return err
	}
	return e.writer.Flush()
}

// Close implements lake.Encoder.
func (e *encoder) Close() (lake.Encoded, error) {
	err := e.writer.Close()
	return lake.Encoded{Totals: e.decoder.Totals(), Changed: e.decoder.Changed()}, err
}

// ID implements lake.Format.
func (Format) ID(o *lake.Stored) (string, error) {
	size, err := o.Size()
	if err != nil {
		return "", err
	}
	id, err := ID(o, size)
	if errors.Is(err, ErrDamaged) {
		return "", nil
	}
	return id, err
}

// Count implements lake.Format. It reads the columns of one row group at a time.
func (Format) Count(o *lake.Stored, _ io.Reader, stream sdk.Stream) (batch.Totals, error) {
	size, err := o.Size()
	if err != nil {
		return batch.Totals{}, err
	}
	c := columns.NewCounter(stream)
	err = Read(o, size, stream, func(row *columns.Row) error {
		c.Add(row)
		return nil
	})
	return c.Totals(), err
}
