package generation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// BlockSize is how many bytes of rows a block has at most, unless the rows of
// one hash have more. Blocks of a large set have between half of it and all.
const BlockSize = 1 << 20

// Store keeps the generations of one stream of one project. It may be used
// concurrently; updates and sweeps wait for each other.
type Store struct {
	disk  disk.Store
	dir   string
	block int

	mu sync.Mutex // held while files are written or removed
}

// New returns the store of a project's stream.
func New(store disk.Store, project int64, stream batch.Stream) *Store {
	return &Store{disk: store, dir: fmt.Sprintf("generations/%d/%s", project, stream), block: BlockSize}
}

// WithBlockSize returns the same store with blocks of another size. A set that
// has blocks of one size must not be updated with another.
func (s *Store) WithBlockSize(size int) *Store {
	return &Store{disk: s.disk, dir: s.dir, block: size}
}

const (
	listSuffix  = ".list"
	blockSuffix = ".block"
)

func (s *Store) blockName(b *block) string { return fmt.Sprintf("%s/%x%s", s.dir, b.name, blockSuffix) }

// read reads a file of a known size.
func (s *Store) read(ctx context.Context, name string, dst []byte, size int64) (_ []byte, err error) {
	f, err := s.disk.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size < 0 {
		size = f.Size()
	}
	if size != f.Size() {
		return nil, damaged(name, "it has %d bytes, and should have %d", f.Size(), size)
	}
	if size > maxList {
		return nil, damaged(name, "it has %d bytes", size)
	}
	dst = slices.Grow(dst[:0], int(size))[:size]
	n, err := f.ReadAt(dst, 0)
	switch {
	case n == len(dst):
		return dst, nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, damaged(name, "it is cut short")
	default:
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
}

// list reads a generation's list.
func (s *Store) list(ctx context.Context, name string) (*list, error) {
	data, err := s.read(ctx, name, nil, -1)
	if err != nil {
		return nil, fmt.Errorf("read generation: %w", err)
	}
	l, err := decodeList(data)
	var newer *segment.NewerError
	if errors.As(err, &newer) {
		return nil, fmt.Errorf("read generation %s: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read generation: %w", damaged(name, "%v", err))
	}
	return l, nil
}

// payload reads a block's bytes as they are stored.
func (s *Store) payload(ctx context.Context, b *block, dst []byte) ([]byte, error) {
	name := s.blockName(b)
	dst, err := s.read(ctx, name, dst, int64(b.stored))
	if err != nil {
		return nil, fmt.Errorf("read generation: %w", err)
	}
	if sum := segment.Checksum(dst); sum != b.checksum {
		return nil, fmt.Errorf("read generation: %w", damaged(name, "checksum %08x, want %08x", sum, b.checksum))
	}
	return dst, nil
}

func damaged(name, format string, args ...any) error {
	return &segment.DamageError{Place: name, Detail: fmt.Sprintf(format, args...)}
}

// Blocks calls fn with each block of the generation that has its list in blob,
// in order. Payloads are compared with their checksums, and valid until fn
// returns.
func (s *Store) Blocks(ctx context.Context, blob string, fn func(journal.Block) error) error {
	l, err := s.list(ctx, blob)
	if err != nil {
		return err
	}
	var payload []byte
	for i := range l.blocks {
		b := &l.blocks[i]
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if payload, err = s.payload(ctx, b, payload); err != nil {
			return err
		}
		if err := fn(b.journal(payload)); err != nil {
			return err
		}
	}
	return nil
}

// Totals returns the rows, bytes and checksum of the generation that has its
// list in blob. It reads no block.
func (s *Store) Totals(ctx context.Context, blob string) (batch.Totals, error) {
	var t batch.Totals
	l, err := s.list(ctx, blob)
	if err != nil {
		return t, err
	}
	for _, b := range l.blocks {
		t.Append(batch.Totals{
			Rows: uint64(b.rows), RowsBytes: uint64(b.rowsBytes), RowsCRC32: b.rowsCRC32, PayloadBytes: uint64(b.stored),
		})
	}
	return t, nil
}

// Rows calls fn with each row of the generation that has its list in blob, in
// the order of keys, newline included. Rows are valid until fn returns.
func (s *Store) Rows(ctx context.Context, blob string, fn func(row []byte) error) error {
	var d segment.Decoder
	var rows []byte
	return s.Blocks(ctx, blob, func(b journal.Block) error {
		var err error
		if rows, err = d.Decode(rows[:0], b); err != nil {
			return fmt.Errorf("read generation: %w", damaged(blob, "%v", err))
		}
		for row := range lines(rows) {
			if err := fn(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// Files returns the names of the lists and blocks of some generations, each once.
func (s *Store) Files(ctx context.Context, generations []pipeline.Generation) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, g := range generations {
		if seen[g.Blob] {
			continue
		}
		l, err := s.list(ctx, g.Blob)
		if err != nil {
			return nil, err
		}
		add(g.Blob)
		for i := range l.blocks {
			add(s.blockName(&l.blocks[i]))
		}
	}
	return names, nil
}

// Sweep removes files that none of the generations in use refers to. A generation
// that an update has just returned is in use.
func (s *Store) Sweep(ctx context.Context, inUse []pipeline.Generation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.Files(ctx, inUse)
	if err != nil {
		return fmt.Errorf("sweep generations: %w", err)
	}
	used := make(map[string]bool, len(files))
	for _, name := range files {
		used[name] = true
	}
	names, err := s.disk.List(ctx, s.dir)
	if err != nil {
		return fmt.Errorf("sweep generations: %w", err)
	}
	// Lists go first, so that none is left whose blocks are gone.
	for _, suffix := range []string{listSuffix, blockSuffix} {
		for _, name := range names {
			if used[name] || !strings.HasSuffix(name, suffix) {
				continue
			}
			if err := s.disk.Delete(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sweep generations: %w", err)
			}
		}
	}
	return nil
}
