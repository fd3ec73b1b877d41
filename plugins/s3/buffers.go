package s3

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// partSize is what one request uploads at most; S3 takes no part but the
	// last under 5 MiB, some servers none over 16 MiB.
	partSize = 5 << 20
	// partBuffers bounds the parts in memory: one being filled, the others on
	// their way.
	partBuffers = 4
)

// buffers lends out part buffers. They are mapped beside Go's heap, which
// would otherwise keep as much again free for the next collection: all of them
// when the first one is needed, so that a process that has uploaded much is as
// large as one that has uploaded little. They are kept until it ends.
type buffers struct {
	most int
	free chan []byte

	mu     sync.Mutex
	mapped bool
}

func newBuffers(most int) *buffers {
	return &buffers{most: most, free: make(chan []byte, most)}
}

// get waits for a buffer; it is empty, with room for one part.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	if err := b.fill(); err != nil {
		return nil, sdk.Retryable(fmt.Errorf("map %d part buffers of %d bytes: %w", b.most, partSize, err), 0)
	}
	select {
	case buf := <-b.free:
		return buf[:0], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill maps the buffers, once.
func (b *buffers) fill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mapped {
		return nil
	}
	all, err := unix.Mmap(-1, 0, b.most*partSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	clear(all) // a page is there when it was written to
	for i := range b.most {
		b.free <- all[i*partSize : (i+1)*partSize : (i+1)*partSize]
	}
	b.mapped = true
	return nil
}

// lent is how many buffers are in use.
func (b *buffers) lent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mapped {
		return 0
	}
	return b.most - len(b.free)
}

// put takes a buffer back; nil is none.
func (b *buffers) put(buf []byte) {
	if buf != nil {
		b.free <- buf
	}
}
