package gcs

import "context"

const (
	// bufferSize is the most bytes that an object may have to be sent in one
	// request.
	bufferSize = 4 << 20
	// bufferCount bounds the small objects in memory: one that is filled, the
	// others on their way.
	bufferCount = 5
)

// buffers lends out the buffers in which small objects are collected. Each is
// allocated when it is first lent, and kept until the process ends.
type buffers struct{ free chan []byte }

func newBuffers() *buffers {
	b := &buffers{free: make(chan []byte, bufferCount)}
	for range bufferCount {
		b.free <- nil
	}
	return b
}

// get waits until a buffer is free.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case buf := <-b.free:
		if buf == nil {
			buf = make([]byte, 0, bufferSize)
		}
		return buf[:0], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// put takes a buffer back. It ignores nil.
func (b *buffers) put(buf []byte) {
	if buf != nil {
		b.free <- buf
	}
}
