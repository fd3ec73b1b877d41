package files

import (
	"bytes"
	"context"
	"io"
	"sync"
)

// prefetchSize and prefetchCount bound how far prefetch reads ahead: 1 MiB.
const (
	prefetchSize  = 256 << 10 // bytes of a buffer
	prefetchCount = 4         // buffers
)

// prefetch reads from another reader in a goroutine of its own, up to prefetchCount buffers
// ahead: a file is fetched and decompressed while what was read of it is cut into pieces.
// The bytes, and the error after them, are those of the reader. Its user closes it.
type prefetch struct {
	full    chan filled
	empty   chan *[]byte // buffers to fill; the first ones come from pool
	ctx     context.Context
	stored  *counter
	current filled
	rest    []byte // of current
	ended   chan struct{}
	pool    *sync.Pool
}

// filled is a buffer with the bytes that were read into it, and the error after them.
type filled struct {
	buffer *[]byte
	n      int
	err    error
}

// startPrefetch begins to read from in, which decompresses stored. It ends when in does, or
// with ctx, which counts as an error of stored. The buffers are of pool, whose values are
// *[]byte of prefetchSize bytes.
func startPrefetch(ctx context.Context, in io.Reader, stored *counter, pool *sync.Pool) *prefetch {
	b := &prefetch{
		full: make(chan filled, prefetchCount), empty: make(chan *[]byte, prefetchCount), ctx: ctx, stored: stored, ended: make(chan struct{}), pool: pool,
	}
	for range prefetchCount {
		b.empty <- nil
	}
	go func() {
		defer close(b.ended)
		b.fill(in)
	}()
	return b
}

func (b *prefetch) fill(in io.Reader) {
	for {
		var f filled
		select {
		case f.buffer = <-b.empty:
		case <-b.ctx.Done():
			return
		}
		if f.buffer == nil {
			f.buffer = b.pool.Get().(*[]byte)
		}
		for f.n < len(*f.buffer) && f.err == nil {
			var n int
			n, f.err = in.Read((*f.buffer)[f.n:])
			f.n += n
		}
		b.full <- f // there are not more buffers than places
		if f.err != nil {
			return
		}
	}
}

// Read implements io.Reader. It waits for the goroutine; after ctx has ended it returns
// its cause.
func (b *prefetch) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// peek returns the first bytes, n at most, before any was read. They stay to be read. There
// are fewer if the file ends, or ctx has.
func (b *prefetch) peek(n int) []byte {
	if b.current.buffer == nil && b.advance() != nil {
		return nil
	}
	return bytes.Clone(b.rest[:min(n, len(b.rest))])
}

// advance goes to the next buffer. It returns the error after the current one.
func (b *prefetch) advance() error {
	if b.current.err != nil {
		return b.current.err
	}
	if b.current.buffer != nil {
		b.empty <- b.current.buffer
		b.current.buffer = nil
	}
	select {
	case b.current = <-b.full:
		b.rest = (*b.current.buffer)[:b.current.n]
		return nil
	case <-b.ctx.Done():
		b.stored.fail(context.Cause(b.ctx))
		return context.Cause(b.ctx)
	}
}

// wait waits until nothing is read any more, and gives the buffers back. ctx has ended, or
// the reader has.
func (b *prefetch) wait() {
	<-b.ended
	b.release(b.current.buffer)
	for {
		select {
		case f := <-b.full:
			b.release(f.buffer)
		case buffer := <-b.empty:
			b.release(buffer)
		default:
			return
		}
	}
}

func (b *prefetch) release(buffer *[]byte) {
	if buffer != nil {
		b.pool.Put(buffer)
	}
}
