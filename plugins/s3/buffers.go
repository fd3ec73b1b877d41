package s3

import "context"

const (
	// partSize is what one request uploads at most; S3 takes no part but the
	// last under 5 MiB, some servers none over 16 MiB.
	partSize = 8 << 20
	// partBuffers bounds the parts in memory: one being filled, the others on
	// their way.
	partBuffers = 6
)

// buffers lends out part buffers. A buffer is made when it is first needed.
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
		return make([]byte, 0, partSize), nil
	}
}

func (b *buffers) put(buf []byte) {
	if buf == nil {
		return
	}
	b.free <- buf
	<-b.slots
}
