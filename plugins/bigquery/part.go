package bigquery

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/penstock-io/penstock/plugins/internal/parts"
)

const (
	// blockSize and blockCount bound the memory in which parts are collected: 24 MiB,
	// shared by all destinations of a process, outside of Go's heap.
	blockSize  = 1 << 20
	blockCount = 24
	// heldBlocks is the number of blocks up to which a part is kept until its job has
	// ended, so that the job can be tried again. A larger part is uploaded while it is
	// written.
	heldBlocks = 4
	// maxCollecting is the number of parts that may collect blocks at a time: if each
	// waits for one more than heldBlocks, there is still a free one.
	maxCollecting = (blockCount - 1) / heldBlocks
	// partSize is the approximate size of one load job, in compressed bytes. With mode =
	// "load" it must not change while a run is retried: parts are known by their places.
	partSize = 256 << 20
)

// blocks lends the memory of parts. It is safe for concurrent use.
type blocks struct {
	pool       *parts.Pool
	collecting chan struct{} // one for each part that is written and keeps its blocks
}

func newBlocks() *blocks {
	return &blocks{pool: parts.NewPool(blockCount, blockSize), collecting: make(chan struct{}, maxCollecting)}
}

// get waits for a free block and returns it empty.
func (b *blocks) get(ctx context.Context) ([]byte, error) { return b.pool.Get(ctx) }

func (b *blocks) put(block []byte) { b.pool.Put(block) }

// collect reports whether a part may keep heldBlocks while it waits for another. One
// that may calls collected at its end.
func (b *blocks) collect() bool {
	select {
	case b.collecting <- struct{}{}:
		return true
	default:
		return false
	}
}

func (b *blocks) collected() { <-b.collecting }

// lent returns the number of blocks in use.
func (b *blocks) lent() int { return b.pool.Lent() }

// part is the content of one load job: written by one goroutine, and read by the
// one that uploads it. A small part can be read again; a large one begins to be read
// while it is written, and each block goes back when it was read. While many parts are
// written at a time the later ones are large from their first full block: parts that
// wait for blocks of each other would wait for ever.
type part struct {
	ctx    context.Context
	blocks *blocks
	begin  func() // starts the reading of a large part

	collects bool     // the part may keep its blocks
	held     [][]byte // full blocks of a part that is not large
	current  []byte   // the block that is being filled; nil: none
	size     int64

	large   bool
	stream  chan []byte // full blocks of a large part; closed at its end
	cut     error       // why a large part ended early; set before stream is closed
	reading []byte      // the rest of the block that is being read
	lent    []byte      // the whole of it
	done    sync.Once
	ended   chan struct{} // closed when the reader has gone
}

func newPart(ctx context.Context, b *blocks, begin func()) *part {
	return &part{ctx: ctx, blocks: b, begin: begin, collects: b.collect(), stream: make(chan []byte), ended: make(chan struct{})}
}

// Write implements io.Writer. It waits while all blocks are in use.
func (p *part) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		if p.current == nil {
			block, err := p.blocks.get(p.ctx)
			if err != nil {
				return written, err
			}
			p.current = block
		}
		n := min(len(data), cap(p.current)-len(p.current))
		p.current = append(p.current, data[:n]...)
		data, written, p.size = data[n:], written+n, p.size+int64(n)
		if len(p.current) == cap(p.current) {
			if err := p.full(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// full passes the current block on.
func (p *part) full() error {
	block := p.current
	p.current = nil
	if !p.large {
		p.held = append(p.held, block)
		if p.collects && len(p.held) <= heldBlocks {
			return nil
		}
		p.large = true
		p.collected()
		p.begin()
		held := p.held
		p.held = nil
		for i, block := range held {
			if err := p.send(block); err != nil {
				for _, rest := range held[i+1:] {
					p.blocks.put(rest)
				}
				return err
			}
		}
		return nil
	}
	return p.send(block)
}

// collected notes that the part waits for no block any more while it keeps others.
func (p *part) collected() {
	if p.collects {
		p.collects = false
		p.blocks.collected()
	}
}

var errUploadEnded = errors.New("the upload has ended early")

// send hands a block to the reader. It takes the block back if the reader has gone.
func (p *part) send(block []byte) error {
	select {
	case p.stream <- block:
		return nil
	case <-p.ended:
		p.blocks.put(block)
		return errUploadEnded
	case <-p.ctx.Done():
		p.blocks.put(block)
		return p.ctx.Err()
	}
}

// close ends the part. With an error the reader of a large part fails.
func (p *part) close(cause error) error {
	p.collected()
	var err error
	if p.current != nil {
		block := p.current
		p.current = nil
		switch {
		case !p.large:
			p.held = append(p.held, block)
		case cause != nil:
			p.blocks.put(block)
		default:
			err = p.send(block)
		}
	}
	if p.large {
		p.cut = errors.Join(cause, err)
		close(p.stream)
	}
	return err
}

// Read implements io.Reader for a large part.
func (p *part) Read(out []byte) (int, error) {
	for len(p.reading) == 0 {
		p.giveBack()
		block, open := <-p.stream
		if !open {
			if p.cut != nil {
				return 0, p.cut
			}
			return 0, io.EOF
		}
		p.lent, p.reading = block, block
	}
	n := copy(out, p.reading)
	p.reading = p.reading[n:]
	return n, nil
}

func (p *part) giveBack() {
	if p.lent != nil {
		p.blocks.put(p.lent)
		p.lent, p.reading = nil, nil
	}
}

// stopReading ends the reading of a large part: its writer fails from then on.
func (p *part) stopReading() {
	p.giveBack()
	p.done.Do(func() { close(p.ended) })
}

// reader returns a reader over a part that is not large, from its beginning.
func (p *part) reader() io.Reader {
	readers := make([]io.Reader, len(p.held))
	for i, block := range p.held {
		readers[i] = &blockReader{rest: block}
	}
	return io.MultiReader(readers...)
}

// blockReader reads one block.
type blockReader struct{ rest []byte }

func (r *blockReader) Read(out []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(out, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// release gives the blocks of a closed part back. It must not be in use any more.
func (p *part) release() {
	for _, block := range p.held {
		p.blocks.put(block)
	}
	p.held = nil
	if p.current != nil {
		p.blocks.put(p.current)
		p.current = nil
	}
}
