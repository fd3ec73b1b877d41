package parts

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/sdk"
)

// Pool lends the buffers in which parts are collected, to all writers of a
// process. The buffers are mapped outside of Go's heap, which would otherwise keep
// the same amount free for its next collection. All of them are mapped when the
// first one is needed, and kept until the process ends. A Pool is safe for
// concurrent use.
type Pool struct {
	size int
	most int
	free chan []byte

	mu     sync.Mutex
	mapped bool
}

// NewPool returns a pool of at most most buffers of size bytes. It allocates
// nothing.
func NewPool(most, size int) *Pool {
	return &Pool{size: size, most: most, free: make(chan []byte, most)}
}

// Get waits for a free buffer and returns it empty, with the capacity of a part. The
// caller gives it back with Put.
func (p *Pool) Get(ctx context.Context) ([]byte, error) {
	if err := p.fill(); err != nil {
		return nil, sdk.Retryable(fmt.Errorf("map %d part buffers of %d bytes: %w", p.most, p.size, err), 0)
	}
	select {
	case buf := <-p.free:
		return buf[:0], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill maps the buffers on its first call.
func (p *Pool) fill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mapped {
		return nil
	}
	all, err := unix.Mmap(-1, 0, p.most*p.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	clear(all) // writing makes the pages resident
	for i := range p.most {
		p.free <- all[i*p.size : (i+1)*p.size : (i+1)*p.size]
	}
	p.mapped = true
	return nil
}

// Lent returns the number of buffers in use.
func (p *Pool) Lent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.mapped {
		return 0
	}
	return p.most - len(p.free)
}

// Put returns a buffer of Get to the pool; nil is ignored.
func (p *Pool) Put(buf []byte) {
	if buf != nil {
		p.free <- buf
	}
}
