package generation

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// writers is how many blocks are compressed and made durable at once.
const writers = 4

// output makes the blocks of a list, several at once. write and keep are for
// one goroutine.
type output struct {
	store  *Store
	known  map[[sha256.Size]byte]bool // blocks that are there
	blocks []*block                   // of the list, in order; those that are written are not yet filled in
	idle   chan *writer

	mu  sync.Mutex
	err error // the first
}

// writer is the memory of one block that is being written.
type writer struct {
	encoder *segment.Encoder
	rows    []byte
}

func newOutput(s *Store, old *list) *output {
	o := &output{store: s, known: make(map[[sha256.Size]byte]bool, len(old.blocks)), idle: make(chan *writer, writers)}
	for i := range old.blocks {
		o.known[old.blocks[i].name] = true
	}
	for range writers {
		o.idle <- &writer{}
	}
	return o
}

// keep adds a block that is there.
func (o *output) keep(b *block) { o.blocks = append(o.blocks, b) }

// write adds a block of rows, which it copies. An error may be one of a block
// before.
func (o *output) write(ctx context.Context, rows []byte) error {
	w := <-o.idle
	if err := o.failed(); err != nil {
		o.idle <- w
		return err
	}
	w.rows = append(w.rows[:0], rows...)
	b := &block{}
	o.blocks = append(o.blocks, b)
	go func() {
		if err := o.make(ctx, w, b); err != nil {
			o.fail(err)
		}
		o.idle <- w
	}()
	return nil
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// finish waits until all blocks are durable, and returns their list.
func (o *output) finish() (*list, error) {
	for range writers {
		<-o.idle
	}
	if o.err != nil {
		return nil, o.err
	}
	l := &list{blocks: make([]block, 0, len(o.blocks))}
	for _, b := range o.blocks {
		l.add(*b)
	}
	return l, nil
}

// make makes a block of a writer's rows and writes it, unless it is there.
func (o *output) make(ctx context.Context, w *writer, b *block) error {
	if err := b.describe(w.rows); err != nil {
		return err
	}
	if w.encoder == nil {
		w.encoder = segment.NewEncoder()
	}
	encoded, err := w.encoder.Encode(w.rows, b.rows, b.flags)
	if err != nil {
		return err
	}
	if len(encoded.Payload) > batch.MaxPayload || len(w.rows) > batch.MaxRowsBytes {
		return fmt.Errorf("a block of %d bytes, %d compressed, is too large to be exported", len(w.rows), len(encoded.Payload))
	}
	b.name = sha256.Sum256(encoded.Payload)
	b.stored, b.checksum = len(encoded.Payload), segment.Checksum(encoded.Payload)
	b.rowsBytes, b.rowsCRC32 = encoded.RowsBytes, encoded.RowsCRC32
	if o.known[b.name] {
		return nil
	}
	if err := write(ctx, o.store.disk, o.store.blockName(b), encoded.Payload); err != nil {
		return err
	}
	crashpoint.Here("generation.block")
	return nil
}

// describe sets the fields that describe rows, but those about their storage.
func (b *block) describe(rows []byte) error {
	var previous Key
	for row := range lines(rows) {
		flags, err := schema.RowFlags(row)
		if err != nil {
			return err
		}
		id, ok := idOf(row)
		if !ok || row[len(row)-1] != '\n' {
			return fmt.Errorf("%.80q does not begin with distinct_id or does not end with a newline", row)
		}
		k := KeyOf(id)
		switch {
		case b.rows == 0:
			b.first = k.Hash
		case previous.Compare(k) >= 0:
			return fmt.Errorf("the rows of %q and %q are not in order", previous.ID, id)
		}
		b.last, previous = k.Hash, k
		b.flags |= flags
		b.rows++
	}
	return nil
}
