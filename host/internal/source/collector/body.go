package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// Errors of reading a body.
var (
	errTooLarge = errors.New("the body is too large")
	errEncoding = errors.New("the content encoding is unknown")
	errCorrupt  = errors.New("the body does not decompress")
	errSlow     = errors.New("the body came too slowly")
	errBroken   = errors.New("the body did not come whole")
)

// The memory of bodies: where it begins, and what reading a compressed one
// takes besides.
const (
	firstRead   = 16 << 10
	inflateRoom = 64 << 10
)

// body is the memory of a request's body, all of it: what is read into it is
// returned as a part.
type body struct {
	buffer []byte
}

// read reads the body, decompressed: at most limit bytes, for which it takes
// memory as they come, so that a client that sends slowly, or says that it will
// send much, holds no more than it has sent.
func (b *body) read(ctx context.Context, r *http.Request, s *share, limit int64) ([]byte, error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	plain := encoding == "" || encoding == "identity"
	if plain && r.ContentLength > limit {
		return nil, errTooLarge
	}
	from := &source{r: r.Body, left: limit + firstRead}
	if plain {
		if r.ContentLength >= 0 {
			limit = r.ContentLength
		}
		return b.fill(ctx, from, s, limit)
	}
	if err := s.take(ctx, inflateRoom); err != nil {
		return nil, err
	}
	defer s.give(inflateRoom)
	inflated, done, err := inflate(encoding, from)
	if err != nil {
		if from.err != nil {
			err = from.err
		}
		return nil, err
	}
	defer done()
	data, err := b.fill(ctx, inflated, s, limit)
	if errors.Is(err, errBroken) {
		if err = from.err; err == nil {
			err = errCorrupt
		}
	}
	return data, err
}

// source is a body as it comes. What it fails with is kept: decompressors
// have errors of their own.
type source struct {
	r    io.Reader
	left int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.err = errTooLarge
		return 0, s.err
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil && err != io.EOF {
		s.err = errBroken
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.err = errSlow
		}
		err = fmt.Errorf("%w: %w", s.err, err)
	}
	return n, err
}

// fill reads to the end.
func (b *body) fill(ctx context.Context, r io.Reader, s *share, limit int64) ([]byte, error) {
	data := b.buffer[:0]
	for {
		if len(data) == len(b.buffer) {
			if err := b.grow(ctx, s, limit); err != nil {
				return nil, err
			}
			data = b.buffer[:len(data)]
		}
		n, err := r.Read(b.buffer[len(data):])
		data = b.buffer[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, errTooLarge
		case err == io.EOF:
			return data, nil
		case errors.Is(err, errSlow) || errors.Is(err, errTooLarge):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errBroken, err)
		}
	}
}

// grow makes room for as much again, up to one byte more than limit: that is
// how the end is seen.
func (b *body) grow(ctx context.Context, s *share, limit int64) error {
	old := int64(len(b.buffer))
	size := max(min(max(firstRead, 2*old), limit+1), old+1)
	if err := s.take(ctx, size); err != nil {
		return err
	}
	grown := make([]byte, size)
	copy(grown, b.buffer)
	b.buffer = grown
	s.give(old)
	return nil
}

// inflate is a reader of what a compressed body holds. done gives it back.
func inflate(encoding string, from io.Reader) (r io.Reader, done func(), err error) {
	switch encoding {
	case "gzip", "x-gzip":
		z, _ := gzipReaders.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		if err := z.Reset(from); err != nil {
			gzipReaders.Put(z)
			return nil, nil, errCorrupt
		}
		return z, func() { gzipReaders.Put(z) }, nil
	case "deflate":
		// Some send what zlib writes, as they should, others the bare stream.
		var head [2]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return nil, nil, errCorrupt
		}
		whole := io.MultiReader(bytes.NewReader(head[:]), from)
		if head[0]&15 == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			z, err := zlib.NewReader(whole)
			if err != nil {
				return nil, nil, errCorrupt
			}
			return z, func() {}, nil
		}
		return flate.NewReader(whole), func() {}, nil
	}
	return nil, nil, errEncoding
}

var gzipReaders sync.Pool
