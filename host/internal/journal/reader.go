package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

// heldFile is an open file, with how many use it.
type heldFile struct {
	blob   string
	reader disk.Reader
	file   *segment.File
	seals  map[int64]Segment // in it, as far as they were asked for
	users  int
	gone   bool // closed when the last user leaves
}

// The files that a Reader keeps open, and the seals that it remembers of each.
const (
	openFiles = 32
	heldSeals = 1024
)

// NewReader returns a reader.
func NewReader(project int64, store disk.Store, catalog Catalog) *Reader {
	return &Reader{project: project, store: store, catalog: catalog}
}

// Extent calls fn with each block of an extent, in order. Payloads are
// compared with their checksums, and valid until fn returns.
func (r *Reader) Extent(ctx context.Context, ref ExtentRef, fn func(Block) error) error {
	held, s, err := r.take(ctx, ref.Seq)
	if err != nil {
		return err
	}
	defer r.release(held)
	at, err := s.locate(held.file, ref.Index)
	if err != nil {
		return err
	}
	return held.file.BlocksIn(at, func(b Block) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return fn(b)
	})
}

// Place is the place of a block's payload: a file of the store and the bytes in it.
type Place struct {
	Blob string
	segment.Place
}

// Places calls fn with each block of an extent, in order, without its payload, and
// with the payload's place in Root. Payloads are neither read nor checked. A rewrite
// may remove the file; until then the bytes do not change.
func (r *Reader) Places(ctx context.Context, ref ExtentRef, fn func(Block, Place) error) error {
	held, s, err := r.take(ctx, ref.Seq)
	if err != nil {
		return err
	}
	defer r.release(held)
	at, err := s.locate(held.file, ref.Index)
	if err != nil {
		return err
	}
	return held.file.Places(at, func(b Block, place segment.Place) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return fn(b, Place{held.blob, place})
	})
}

// Root returns the absolute path of the directory of the store's files on this
// machine; empty: they are elsewhere.
func (r *Reader) Root() string {
	if local, ok := r.store.(interface{ Root() string }); ok {
		return local.Root()
	}
	return ""
}

// Totals returns the rows, bytes and checksum of an extent, as its segment
// lists them. It reads no block.
func (r *Reader) Totals(ctx context.Context, ref ExtentRef) (batch.Totals, error) {
	held, s, err := r.take(ctx, ref.Seq)
	if err != nil {
		return batch.Totals{}, err
	}
	defer r.release(held)
	at, err := s.locate(held.file, ref.Index)
	if err != nil {
		return batch.Totals{}, err
	}
	return held.file.TotalsIn(at)
}

func (r *Reader) take(ctx context.Context, seq int64) (*heldFile, Segment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.open {
		if s, ok := h.seals[seq]; ok {
			return r.use(i), s, nil
		}
	}
	s, err := r.catalog.Segment(ctx, r.project, seq)
	if err != nil {
		return nil, s, fmt.Errorf("segment %d: %w", seq, err)
	}
	h, err := r.find(ctx, s.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		// A rewrite may have replaced the file in between.
		if s, err = r.catalog.Segment(ctx, r.project, seq); err == nil {
			h, err = r.find(ctx, s.Blob)
		}
	}
	if err != nil {
		return nil, s, fmt.Errorf("segment %d: %w", seq, err)
	}
	if len(h.seals) == heldSeals {
		clear(h.seals)
	}
	h.seals[seq] = s
	return h, s, nil
}

// use makes an open file the most recently used, with one more user.
func (r *Reader) use(i int) *heldFile {
	h := r.open[i]
	copy(r.open[1:i+1], r.open[:i])
	r.open[0] = h
	h.users++
	return h
}

// find returns a file, open, with one more user.
func (r *Reader) find(ctx context.Context, blob string) (*heldFile, error) {
	if i := slices.IndexFunc(r.open, func(h *heldFile) bool { return h.blob == blob }); i >= 0 {
		return r.use(i), nil
	}
	reader, err := r.store.Open(ctx, blob)
	if err != nil {
		return nil, err
	}
	file, err := segment.Open(reader, reader.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", blob, err), reader.Close())
	}
	h := &heldFile{blob: blob, reader: reader, file: file, seals: map[int64]Segment{}, users: 1}
	r.open = append([]*heldFile{h}, r.open...)
	if len(r.open) > openFiles {
		last := r.open[len(r.open)-1]
		r.open = r.open[:len(r.open)-1]
		r.drop(last)
	}
	return h, nil
}

// forget closes a file that was replaced, so that its space is given back. A call
// that reads it goes on.
func (r *Reader) forget(blob string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(h *heldFile) bool {
		if h.blob != blob {
			return false
		}
		r.drop(h)
		return true
	})
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
