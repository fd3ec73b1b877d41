package s3

import (
	"context"
	"fmt"

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
// would otherwise keep as much again free for the next collection, made when
// they are first needed, and kept until the process ends.
type buffers struct {
	free  chan []byte
	slots chan struct{}
}

func newBuffers(most int) *buffers {
	return &buffers{free: make(chan []byte, most), slots: make(chan struct{}, most)}
}

// get waits for a buffer; it is empty, with room for one part.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case buf := <-b.free:
		return buf[:0], nil
	default:
	}
	buf, err := unix.Mmap(-1, 0, partSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		<-b.slots
		return nil, sdk.Retryable(fmt.Errorf("map a part buffer of %d bytes: %w", partSize, err), 0)
	}
	return buf[:0], nil
}

// put takes a buffer back; nil is none.
func (b *buffers) put(buf []byte) {
	if buf == nil {
		return
	}
	b.free <- buf
	<-b.slots
}
