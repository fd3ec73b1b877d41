package jsonlines

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// longestLine is the largest length of a line that Count reads, in bytes: a row of
// 4 MiB of which each byte is escaped.
const longestLine = 32 << 20

// Format is the lake.Format.
type Format struct {
	// Limit is the longest string that readers can hold.
	Limit columns.Limit
	// Unusual are the rules for rows that readers cannot take. nil: all rows pass.
	Unusual *unusual.Rules
}

// Name implements lake.Format.
func (Format) Name() string { return "json-strings" }

// Extension implements lake.Format.
func (Format) Extension() string { return ".json.gz" }

// Encode implements lake.Format. The id is the file name in the gzip header.
func (f Format) Encode(w io.Writer, stream sdk.Stream, id string) (lake.Encoder, error) {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress lines: %w", err)
	}
	z.Name = id
	return &encoder{
		stream: stream, gzip: z,
		decoder: columns.NewDecoder(columns.Options{Stream: stream, Limit: f.Limit, Unusual: f.Unusual}),
	}, nil
}

type encoder struct {
	stream  sdk.Stream
	gzip    *gzip.Writer
	decoder *columns.Decoder
	lines   []byte
}

// Add implements lake.Encoder.
func (e *encoder) Add(b *batch.Batch, reject func(row uint64, reason string, line []byte) error) error {
	e.lines = e.lines[:0]
	err := e.decoder.Batch(b, reject, func(row *columns.Row) error {
		e.lines = append(columns.AppendLine(e.lines, e.stream, row, true), '\n')
		return nil
	})
	if err != nil {
		return err
	}
	_, err = e.gzip.Write(e.lines)
	return err
}

// Close implements lake.Encoder.
func (e *encoder) Close() (lake.Encoded, error) {
	err := e.gzip.Close()
	return lake.Encoded{Totals: e.decoder.Totals(), Changed: e.decoder.Changed()}, err
}

// ID implements lake.Format.
func (Format) ID(o *lake.Stored) (string, error) {
	head, err := o.Head()
	if err != nil {
		return "", err
	}
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return "", nil //nolint:nilerr // a damaged object belongs to no run and will be replaced
	}
	return z.Name, nil
}

// Count implements lake.Format.
func (Format) Count(_ *lake.Stored, r io.Reader, stream sdk.Stream) (batch.Totals, error) {
	c := columns.NewCounter(stream)
	err := Read(r, stream, func(row *columns.Row) error {
		c.Add(row)
		return nil
	})
	return c.Totals(), err
}

// Read yields the rows of an object in order. A row is valid until yield returns.
func Read(r io.Reader, stream sdk.Stream, yield func(*columns.Row) error) error {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		row, err := parse(lines.Bytes(), stream)
		if err != nil {
			return err
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return lines.Err()
}

// parse reads one line.
func parse(line []byte, stream sdk.Stream) (*columns.Row, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil {
		return nil, fmt.Errorf("line is not JSON: %w", err)
	}
	row := new(columns.Row)
	for _, c := range columns.Of(stream) {
		var v columns.Value
		switch m := members[c.Name].(type) {
		case nil:
			v.Null = true
		case string:
			v.Text = []byte(m)
		case json.Number:
			n, err := m.Int64()
			if err != nil || c.Kind != columns.Integer {
				return nil, fmt.Errorf("%s is the number %s", c.Name, m)
			}
			v.Integer = n
		default:
			return nil, errors.New(strings.Join([]string{c.Name, "is neither a string nor a number"}, " "))
		}
		row.Values = append(row.Values, v)
	}
	return row, nil
}
