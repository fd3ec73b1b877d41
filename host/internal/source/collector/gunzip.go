package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock-io/penstock/host/internal/inflate"
)

// maxRatio is the most that DEFLATE makes of a byte.
const maxRatio = 1032

// gunzipper decompresses bodies of the encoding gzip, which may have several members.
type gunzipper struct {
	header  gzip.Reader // of headers only
	from    bytes.Reader
	decoder inflate.Decoder
}

var gunzippers = sync.Pool{New: func() any { return new(gunzipper) }}

// gunzip decompresses sent: at most limit bytes, into a buffer of the size that the end of
// the body tells, or a larger one as it must.
func (g *gunzipper) gunzip(ctx context.Context, sent []byte, s *share, limit int64) (text, buffer []byte, err error) {
	n := 0
	for first := true; ; first = false {
		g.from.Reset(sent)
		switch err := g.header.Reset(&g.from); {
		case err == io.EOF && !first:
			return buffer[:n], buffer, nil
		case err != nil:
			return nil, buffer, errCorrupt
		case first:
			// The trailer has the size of a body that is one member.
			size := min(int64(binary.LittleEndian.Uint32(sent[len(sent)-4:])), maxRatio*int64(len(sent))) + 1
			if buffer, err = s.buffer(ctx, min(size, limit+1)); err != nil {
				return nil, nil, err
			}
		}
		sent = sent[len(sent)-g.from.Len():]
		start := n
		if n, buffer, err = g.member(ctx, sent, buffer, n, s, limit); err != nil {
			return nil, buffer, err
		}
		sent = sent[g.decoder.Read():]
		if len(sent) < 8 || binary.LittleEndian.Uint32(sent) != crc32.ChecksumIEEE(buffer[start:n]) ||
			binary.LittleEndian.Uint32(sent[4:]) != uint32(n-start) {
			return nil, buffer, errCorrupt
		}
		sent = sent[8:]
	}
}

// member decompresses the stream that sent begins with into a buffer that holds n bytes. It
// returns how many it holds then, and the buffer, which is perhaps another.
func (g *gunzipper) member(ctx context.Context, sent, buffer []byte, n int, s *share, limit int64) (int, []byte, error) {
	g.decoder.Begin(sent, n)
	for {
		var err error
		n, err = g.decoder.Decode(buffer, n)
		isFull := errors.Is(err, inflate.ErrFull)
		switch {
		case int64(n) > limit, isFull && int64(len(buffer)) > limit:
			return n, buffer, errTooLarge
		case err == nil:
			return n, buffer, nil
		case !isFull:
			return n, buffer, errCorrupt
		}
		grown, err := s.buffer(ctx, min(max(2*int64(len(buffer)), secondRead), limit+1))
		if err != nil {
			return n, buffer, err
		}
		copy(grown, buffer[:n])
		s.release(buffer)
		buffer = grown
	}
}
