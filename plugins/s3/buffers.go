package s3

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// partSize is the largest upload of one request, in bytes. S3 accepts parts
	// under 5 MiB only as the last one, and some servers refuse parts over 16 MiB.
	partSize = 5 << 20
	// partBuffers is the number of parts in memory: one is filled while the others
	// are sent.
	partBuffers = 4
)

// buffers is a pool of part buffers, shared by all uploads of the process. The
// buffers are mapped outside of Go's heap, which would otherwise keep the same
// amount free for its next collection. All of them are mapped when the first one
// is needed, and kept until the process ends.
type buffers struct {
	most int
	free chan []byte

	mu     sync.Mutex
	mapped bool
}

func newBuffers(most int) *buffers {
	return &buffers{most: most, free: make(chan []byte, most)}
}

// get waits for a free buffer and returns it empty, with the capacity of a part.
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

// fill maps the buffers on its first call.
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
	clear(all) // writing makes the pages resident
	for i := range b.most {
		b.free <- all[i*partSize : (i+1)*partSize : (i+1)*partSize]
	}
	b.mapped = true
	return nil
}

// lent returns the number of buffers in use.
func (b *buffers) lent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mapped {
		return 0
	}
	return b.most - len(b.free)
}

// put returns a buffer to the pool; nil is ignored.
func (b *buffers) put(buf []byte) {
	if buf != nil {
		b.free <- buf
	}
}
