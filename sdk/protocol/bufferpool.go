package protocol

import (
	"slices"
	"sync"

	"google.golang.org/grpc/mem"
)

// retainedLimit is the most bytes that a process keeps in unused buffers. An
// export holds up to three batches on the host's side, and up to a stream's
// window in frames on the plugin's side.
const retainedLimit = 8 << 20

// fieldsRoom is the room for the other fields of a message whose payload is a
// power of two long.
const fieldsRoom = 8 << 10

// bufferSizes are the capacities of pooled buffers in bytes, ascending. A data
// frame of HTTP/2 is 16 KiB; the largest batch is 4 MiB.
var bufferSizes = [...]int{
	4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10,
	1<<20 + fieldsRoom, 2<<20 + fieldsRoom, 4<<20 + fieldsRoom,
}

// buffers are shared by all connections of the process.
var buffers = newBufferPool(retainedLimit)

// bufferPool is a mem.BufferPool for messages of about a mebibyte. gRPC's own
// clears a whole mebibyte for every message above 32 KiB, and 16 KiB for every
// frame. This pool hands out buffers with the bytes of earlier messages in
// them; codec and transport overwrite a buffer in full before they read it.
//
// The unused buffers together hold at most limit bytes, and those of one size
// half of it or a single buffer, so that frames and messages of one export do
// not displace each other. When a buffer comes back and there is no room for
// it, buffers of the size that was asked for longest ago make way. A bufferPool
// is safe for concurrent use.
type bufferPool struct {
	limit int // bytes

	mu       sync.Mutex
	retained int    // bytes of all unused buffers
	gets     uint64 // calls of Get so far
	free     [len(bufferSizes)]freeBuffers
}

// freeBuffers are the unused buffers of one size. bufferPool.mu guards them.
type freeBuffers struct {
	stack   []*[]byte
	lastGet uint64 // value of bufferPool.gets when this size was last asked for
}

var _ mem.BufferPool = (*bufferPool)(nil)

// newBufferPool returns an empty pool that retains up to limit bytes.
func newBufferPool(limit int) *bufferPool { return &bufferPool{limit: limit} }

// Get implements mem.BufferPool. The buffer's content is undefined.
func (p *bufferPool) Get(length int) *[]byte {
	class, _ := slices.BinarySearch(bufferSizes[:], length)
	if class == len(bufferSizes) {
		b := make([]byte, length)
		return &b
	}
	if b := p.pop(class); b != nil {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, bufferSizes[class])
	return &b
}

// pop takes an unused buffer of the class, or returns nil.
func (p *bufferPool) pop(class int) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gets++
	f := &p.free[class]
	f.lastGet = p.gets
	return p.drop(class)
}

// drop removes an unused buffer of the class from the pool and returns it, or
// nil. The caller holds mu.
func (p *bufferPool) drop(class int) *[]byte {
	f := &p.free[class]
	last := len(f.stack) - 1
	if last < 0 {
		return nil
	}
	b := f.stack[last]
	f.stack[last] = nil
	f.stack = f.stack[:last]
	p.retained -= bufferSizes[class]
	return b
}

// Put implements mem.BufferPool. It leaves buffers that are not of one of the
// pool's sizes to the garbage collector.
func (p *bufferPool) Put(b *[]byte) {
	class, known := slices.BinarySearch(bufferSizes[:], cap(*b))
	if !known {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f, size := &p.free[class], bufferSizes[class]
	if n := len(f.stack); n > 0 && (n+1)*size > p.limit/2 {
		return
	}
	for p.retained+size > p.limit {
		oldest := p.oldest(f.lastGet)
		if oldest < 0 {
			return
		}
		p.drop(oldest)
	}
	f.stack = append(f.stack, b)
	p.retained += size
}

// oldest returns the class with unused buffers that was asked for longest ago
// and before the given call of Get, or -1. The caller holds mu.
func (p *bufferPool) oldest(before uint64) int {
	found := -1
	for class := range p.free {
		if f := &p.free[class]; len(f.stack) > 0 && f.lastGet < before {
			found, before = class, f.lastGet
		}
	}
	return found
}
