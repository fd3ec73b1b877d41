package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Reader reads blocks of one project. It may be used concurrently. It keeps
// some segments open; the caller closes it.
type Reader struct {
	project int64
	store   disk.Store
	catalog Catalog

	mu   sync.Mutex
	open []*heldFile // most recently used first
}

// heldFile is an open segment, with how many use it.
type heldFile struct {
	seq    int64
	reader disk.Reader
	file   *segment.File
	users  int
	gone   bool // closed when the last user leaves
}

// openFiles is how many segments a Reader keeps open.
const openFiles = 32

// NewReader returns a reader.
func NewReader(project int64, store disk.Store, catalog Catalog) *Reader {
	return &Reader{project: project, store: store, catalog: catalog}
}

// Extent calls fn with each block of an extent, in order. Payloads are
// compared with their checksums, and valid until fn returns.
func (r *Reader) Extent(ctx context.Context, ref ExtentRef, fn func(Block) error) error {
	held, err := r.take(ctx, ref.Seq)
	if err != nil {
		return err
	}
	defer r.release(held)
	return held.file.Blocks(ref.Index, func(b Block) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return fn(b)
	})
}

// Totals returns the rows, bytes and checksum of an extent, as its segment
// lists them. It reads no block.
func (r *Reader) Totals(ctx context.Context, ref ExtentRef) (batch.Totals, error) {
	held, err := r.take(ctx, ref.Seq)
	if err != nil {
		return batch.Totals{}, err
	}
	defer r.release(held)
	return held.file.Totals(ref.Index)
}

func (r *Reader) take(ctx context.Context, seq int64) (*heldFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.open {
		if h.seq == seq {
			copy(r.open[1:i+1], r.open[:i])
			r.open[0] = h
			h.users++
			return h, nil
		}
	}
	blob, err := r.catalog.Blob(ctx, r.project, seq)
	if err != nil {
		return nil, fmt.Errorf("segment %d: %w", seq, err)
	}
	reader, err := r.store.Open(ctx, blob)
	if err != nil {
		return nil, fmt.Errorf("segment %d: %w", seq, err)
	}
	file, err := segment.Open(reader, reader.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("segment %d, %s: %w", seq, blob, err), reader.Close())
	}
	h := &heldFile{seq: seq, reader: reader, file: file, users: 1}
	r.open = append([]*heldFile{h}, r.open...)
	if len(r.open) > openFiles {
		last := r.open[len(r.open)-1]
		r.open = r.open[:len(r.open)-1]
		r.drop(last)
	}
	return h, nil
}

// drop closes a file, or leaves that to its last user. r.mu is held.
func (r *Reader) drop(h *heldFile) {
	h.gone = true
	if h.users == 0 {
		_ = h.reader.Close() // it was only read
	}
}

func (r *Reader) release(h *heldFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.users--
	if h.gone && h.users == 0 {
		_ = h.reader.Close() // it was only read
	}
}

// Close closes all segments that have no user.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.open {
		r.drop(h)
	}
	r.open = nil
	return nil
}
