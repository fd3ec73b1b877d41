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

	"github.com/klauspost/compress/flate"
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

// The memory that reading a body begins with, and goes on with when a body is
// longer than that.
const (
	firstRead  = 1 << 10
	secondRead = 16 << 10
)

// read reads the body, decompressed: at most limit bytes. It takes memory as
// they come, so that a client that sends slowly, or says that it will send
// much, holds about twice as much as it has sent. A compressed body is
// decompressed once it is there. The buffer, of which the text is a part, is the
// caller's to release, also after an error.
func read(ctx context.Context, r *http.Request, body io.Reader, s *share, limit int64) (text, buffer []byte, err error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	plain := encoding == "" || encoding == "identity"
	if plain && r.ContentLength > limit {
		return nil, nil, errTooLarge
	}
	most := limit
	if r.ContentLength >= 0 {
		most = min(limit, r.ContentLength)
	}
	sent, buffer, err := fill(ctx, source{body}, s, firstRead, most)
	s.arrived()
	if err != nil || plain {
		return sent, buffer, err
	}
	defer s.release(buffer)
	return decompress(ctx, encoding, sent, s, limit)
}

// source is a body as it comes.
type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: %w", errSlow, err)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

// fill reads to the end, into a buffer that begins with size bytes and grows as
// it must.
func fill(ctx context.Context, r io.Reader, s *share, size, limit int64) (text, buffer []byte, err error) {
	n := 0
	for {
		if n == len(buffer) {
			next := max(size, 2*int64(n))
			if n > 0 {
				next = max(next, secondRead)
			}
			// One byte more than there may be: that is how the end is seen.
			grown, err := s.buffer(ctx, min(next, limit+1))
			if err != nil {
				return nil, buffer, err
			}
			copy(grown, buffer)
			s.release(buffer)
			buffer = grown
		}
		m, err := r.Read(buffer[n:])
		n += m
		switch {
		case int64(n) > limit:
			return nil, buffer, errTooLarge
		case err == io.EOF:
			return buffer[:n], buffer, nil
		case err != nil:
			return nil, buffer, err
		}
	}
}

// decompress decompresses a body.
func decompress(ctx context.Context, encoding string, sent []byte, s *share, limit int64) (text, buffer []byte, err error) {
	switch encoding {
	case "gzip", "x-gzip":
		g := gunzippers.Get().(*gunzipper)
		defer gunzippers.Put(g)
		return g.gunzip(ctx, sent, s, limit)
	case "deflate":
		return inflateStream(ctx, sent, s, limit)
	default:
		return nil, nil, errEncoding
	}
}

// inflateStream decompresses a body of the encoding deflate.
func inflateStream(ctx context.Context, sent []byte, s *share, limit int64) (text, buffer []byte, err error) {
	// Some clients send the zlib format, as they should, others a bare stream.
	from := bytes.NewReader(sent)
	r := flate.NewReader(from)
	if len(sent) >= 2 && sent[0]&15 == 8 && (uint(sent[0])<<8|uint(sent[1]))%31 == 0 {
		if r, err = zlib.NewReader(from); err != nil {
			return nil, nil, errCorrupt
		}
	}
	text, buffer, err = fill(ctx, r, s, 4*int64(len(sent)), limit)
	switch {
	case err == nil, errors.Is(err, errTooLarge), errors.Is(err, errBusy), ctx.Err() != nil:
	default:
		err = errCorrupt
	}
	return text, buffer, err
}
