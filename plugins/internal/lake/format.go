package lake

import (
	"bufio"
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Format is the encoding of the data objects of a Lake. The same batches must make
// the same bytes in every attempt.
type Format interface {
	// Name is the format's name in configurations and manifests.
	Name() string
	// Extension ends the names of objects, as in ".json.gz". It is one of those in
	// extensions.
	Extension() string
	// Encode starts an object whose bytes go to w. The object keeps id, which ID
	// returns; empty: none.
	Encode(w io.Writer, stream sdk.Stream, id string) (Encoder, error)
	// ID returns the id of an object; empty for one that has none, or that is
	// damaged. An error is one of the store.
	ID(o *Stored) (string, error)
	// Count reads all rows of an object. It may read o by ranges, or r, which has
	// the object's bytes from the start, as far as it likes. RowsBytes is 0 if the
	// size of the lines is not known.
	Count(o *Stored, r io.Reader, stream sdk.Stream) (batch.Totals, error)
}

// Encoder encodes the rows of one object. It is for one goroutine.
type Encoder interface {
	// Add adds the rows of a batch and passes those that the format cannot hold to
	// reject.
	Add(b *batch.Batch, reject func(row uint64, reason string, line []byte) error) error
	// Close writes the end of the object. It does not close the writer below.
	Close() (Encoded, error)
}

// Encoded counts the rows of an object.
type Encoded struct {
	// Totals are those of the stored rows. RowsBytes and RowsCRC32 are 0, not known,
	// if some row was changed or rejected, or Count cannot return the same.
	batch.Totals
	Changed map[string]uint64 // rows by reason; nil: none
}

// extensions are those of all formats, the default first. A format whose objects
// an earlier version has written must stay.
var extensions = []string{".json.gz", ".parquet"}

// Stored is an object of the store that a Format reads.
type Stored struct {
	ctx     context.Context
	store   Store
	name    string
	durable bool    // the object must be durable before anything is said of it: Read sees to that
	version Version // empty: Size has not been called
	size    int64
	err     error // of the store, the first one
}

// Head returns at most the first 1024 bytes.
func (s *Stored) Head() ([]byte, error) {
	head, _, err := s.store.Read(s.ctx, s.name, 1024)
	s.durable = false
	return head, s.failed(err)
}

// Size returns the size of the object.
func (s *Stored) Size() (int64, error) {
	if s.durable {
		if _, err := s.Head(); err != nil {
			return 0, err
		}
	}
	if s.version == "" {
		info, err := s.store.Stat(s.ctx, s.name)
		if err != nil {
			return 0, s.failed(err)
		}
		s.version, s.size = info.Version, info.Size
	}
	return s.size, nil
}

// ReadAt implements io.ReaderAt. All calls read one version of the object.
func (s *Stored) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := s.Size(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) {
		part, err := s.store.ReadRange(s.ctx, s.name, s.version, offset+int64(n), min(int64(len(p)-n), rangeSize))
		if err != nil {
			return n, s.failed(err)
		}
		if len(part) == 0 {
			return n, io.EOF
		}
		n += copy(p[n:], part)
	}
	return n, nil
}

// failed notes the first error of the store.
func (s *Stored) failed(err error) error {
	if err != nil && s.err == nil {
		s.err = err
	}
	return err
}

// ndjson is the default Format: gzip-compressed NDJSON, made by copying batches.
type ndjson struct{}

// Name implements Format.
func (ndjson) Name() string { return "json" }

// Extension implements Format.
func (ndjson) Extension() string { return extensions[0] }

// Encode implements Format. The id is the file name in the gzip header.
func (ndjson) Encode(w io.Writer, _ sdk.Stream, id string) (Encoder, error) {
	if id != "" {
		w = &nameWriter{w: w, name: id}
	}
	return &gzipEncoder{batch.NewGzipWriter(w)}, nil
}

type gzipEncoder struct{ w *batch.GzipWriter }

// Add implements Encoder.
func (e *gzipEncoder) Add(b *batch.Batch, _ func(uint64, string, []byte) error) error {
	return e.w.WriteBatch(b)
}

// Close implements Encoder.
func (e *gzipEncoder) Close() (Encoded, error) {
	err := e.w.Close()
	return Encoded{Totals: e.w.Totals()}, err
}

// ID implements Format.
func (ndjson) ID(o *Stored) (string, error) {
	head, err := o.Head()
	if err != nil {
		return "", err
	}
	z, err := stdgzip.NewReader(bytes.NewReader(head))
	if err != nil {
		// A foreign or damaged object belongs to no run and will be replaced.
		return "", nil //nolint:nilerr // see above
	}
	return z.Name, nil
}

// Count implements Format.
func (ndjson) Count(_ *Stored, r io.Reader, _ sdk.Stream) (batch.Totals, error) {
	rows := new(rowCounter)
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err == nil {
		_, err = io.Copy(rows, z)
	}
	return rows.totals, err
}

// rowCounter counts rows, which end with a newline each.
type rowCounter struct{ totals batch.Totals }

func (c *rowCounter) Write(p []byte) (int, error) {
	c.totals.RowsBytes += uint64(len(p))
	c.totals.RowsCRC32 = crc32.Update(c.totals.RowsCRC32, crc32.IEEETable, p)
	c.totals.Rows += uint64(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

// newManifest returns the manifest of a pipeline that has committed nothing.
func (l *Lake) newManifest(run sdk.Run) *Manifest {
	m := newManifest(run)
	m.ObjectFormat = l.objectFormat()
	return m
}

// objectFormat is the format's name in manifests.
func (l *Lake) objectFormat() string {
	if name := l.format.Name(); name != (ndjson{}).Name() {
		return name
	}
	return ""
}

// sameFormat refuses a pipeline that has committed objects of another format.
func (l *Lake) sameFormat(m *Manifest) error {
	was := m.ObjectFormat
	if was == "" {
		was = ndjson{}.Name()
	}
	if is := l.format.Name(); was != is && (m.holds() || m.Prepared != nil) {
		return sdk.Configuration(fmt.Errorf("pipeline %s has committed objects of format %q, and the destination's format is %q", m.Pipeline, was, is),
			fmt.Sprintf("set format = %q again, or give the new format a pipeline and a prefix of its own: readers of one directory expect one format", was))
	}
	return nil
}

// readInner returns the id of the fixed object. It is empty if the object does not
// exist or is damaged.
func (l *Lake) readInner(ctx context.Context, lay layout) (string, error) {
	for try := 1; ; try++ {
		id, err := l.format.ID(&Stored{ctx: ctx, store: l.store, name: lay.fixed(), durable: true})
		switch {
		case errors.Is(err, ErrNotFound):
			return "", nil
		case errors.Is(err, ErrConflict) && try < conflictTries:
			continue // it was replaced while it was read
		case errors.Is(err, ErrConflict):
			err = sdk.Retryable(err, 0)
		}
		if err != nil {
			err = fmt.Errorf("read %s: %w", lay.fixed(), err)
		}
		return id, err
	}
}
