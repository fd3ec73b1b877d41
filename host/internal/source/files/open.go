package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock-io/penstock/host/internal/ingest"
)

// counter counts what is read of the file as it is stored, and keeps what went
// wrong there: that is no fault of the file's contents.
type counter struct {
	io.ReadCloser
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// open opens a file where its cursor stands, or at its beginning when it is
// new or another one.
func (s *Source) open(ctx context.Context, e entry) (*reader, error) {
	edition := 0
	if value := s.cursors[e.path]; value != nil {
		c, err := decodeCursor(value)
		if err != nil {
			return nil, err
		}
		r, err := s.resume(ctx, e, c)
		if r != nil || err != nil {
			return r, err
		}
		edition = c.Edition + 1
	}
	c := cursor{Size: e.size, ModTime: e.modTime, ETag: e.etag, Edition: edition}
	var err error
	if c.Head, c.HeadSize, err = s.head(ctx, e, maxHead); err != nil {
		return nil, err
	}
	return s.openAt(ctx, e, c, 0)
}

func (s *Source) head(ctx context.Context, e entry, size int) (sum string, n int, err error) {
	f, err := s.place.open(ctx, e.path, 0)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readSum(f, size)
}

// resume opens a file that was read before where the cursor stands; nil when
// it is another file by now. It is the same when it is not shorter and both its
// beginning and what was read last are as they were.
func (s *Source) resume(ctx context.Context, e entry, c cursor) (*reader, error) {
	if e.size < c.Size {
		return nil, nil
	}
	sum, n, err := s.head(ctx, e, c.HeadSize)
	if err != nil {
		return nil, err
	}
	if n != c.HeadSize || sum != c.Head {
		return nil, nil
	}
	c.Size, c.ModTime, c.ETag, c.Done, c.Waiting, c.Cut = e.size, e.modTime, e.etag, false, false, false
	r, err := s.openAt(ctx, e, c, c.Offset-int64(c.TailSize))
	if err != nil {
		return nil, err
	}
	if r.ended == nil {
		if sum, n, err = readSum(r.plain, c.TailSize); err == nil && n == c.TailSize && sum == c.Tail {
			return r, nil
		}
	}
	if r.stored.err != nil {
		err = r.stored.err
	} else {
		err = nil
	}
	return nil, errors.Join(err, r.close())
}

// openAt opens a file for reading from a position on, after decompression.
func (s *Source) openAt(ctx context.Context, e entry, c cursor, at int64) (*reader, error) {
	from := at
	if compressed(e.path) {
		from = 0
	}
	stored, err := s.place.open(ctx, e.path, from)
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, entry: e, cursor: c, skipping: c.Skipping, stored: &counter{ReadCloser: stored}, free: func() {}}
	if r.ended = r.decompress(); r.ended == nil && from < at {
		_, r.ended = io.CopyN(io.Discard, r.plain, at)
	}
	if r.ended != nil && r.stored.err != nil {
		return nil, errors.Join(r.stored.err, r.close())
	}
	if c.Arrays {
		r.splitter = ingest.Resume(c.InArray)
	}
	return r, nil
}

func compressed(path string) bool {
	return strings.HasSuffix(path, ".gz") || strings.HasSuffix(path, ".zst")
}

// maxWindow is the most memory of a zstd frame's window.
const maxWindow = 64 << 20

// decompress chooses by the file's name.
func (r *reader) decompress() error {
	switch path := r.entry.path; {
	case strings.HasSuffix(path, ".gz"):
		z, err := kgzip.NewReader(r.stored)
		if err != nil {
			return err
		}
		r.plain = z
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(r.stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("begin to decompress: %w", err)
		}
		r.plain, r.free = z, z.Close
	default:
		r.plain = r.stored
	}
	return nil
}

func (r *reader) close() error {
	r.free()
	return r.stored.Close()
}
