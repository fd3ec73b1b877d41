package profile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// sorter orders rows of operations by the key of their profile, and those of
// one profile as they came. Rows that do not fit into memory are spilled to
// runs: sorted files. Half of the memory is for rows that come, half for reading runs.
type sorter struct {
	store  disk.Store
	dir    string
	memory int

	rows  []byte
	index []place
	runs  []run
	names int // of runs so far
}

// place is where a row is in sorter.rows.
type place struct {
	hash       uint64
	from       uint32
	length, id uint32 // of the row, and of distinct_id in it
}

// placeSize is its size in memory.
const placeSize = 24

// idFrom is where distinct_id begins in a row, of an operation or of a profile.
const idFrom = len(rowID)

func (p place) key(rows []byte) generation.Key {
	from := int(p.from) + idFrom
	return generation.Key{Hash: p.hash, ID: rows[from : from+int(p.id)]}
}

// run is a sorted file. Runs follow each other in the order in which their rows
// came.
type run struct {
	name  string
	chunk int // the most bytes of a chunk
}

// newSorter returns a sorter that has its runs in a directory, which is empty.
func newSorter(store disk.Store, dir string, memory int) *sorter {
	// Most rows have 150 bytes and more.
	places := max(memory/2/7/placeSize, 16)
	return &sorter{
		store: store, dir: dir, memory: memory,
		rows: make([]byte, 0, max(memory/2-places*placeSize, 1<<10)), index: make([]place, 0, places),
	}
}

// add adds a row, which it copies.
func (s *sorter) add(ctx context.Context, row []byte, id []byte) error {
	if len(s.index) > 0 && (len(s.rows)+len(row) > cap(s.rows) || len(s.index) == cap(s.index)) {
		if err := s.spill(ctx); err != nil {
			return err
		}
	}
	s.index = append(s.index, place{generation.Hash(id), uint32(len(s.rows)), uint32(len(row)), uint32(len(id))})
	s.rows = append(s.rows, row...)
	return nil
}

func (s *sorter) sort() {
	slices.SortFunc(s.index, func(a, b place) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		if c := bytes.Compare(a.key(s.rows).ID, b.key(s.rows).ID); c != 0 {
			return c
		}
		return cmp.Compare(a.from, b.from)
	})
}

// spill writes the rows in memory as a run.
func (s *sorter) spill(ctx context.Context) error {
	s.sort()
	w, err := s.create(ctx)
	if err != nil {
		return err
	}
	for _, p := range s.index {
		if err := w.add(p.hash, s.rows[p.from:p.from+p.length]); err != nil {
			return w.abort(err)
		}
	}
	r, err := w.finish()
	if err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	s.rows, s.index = s.rows[:0], s.index[:0]
	return nil
}

// chunkSize is how many bytes of rows a run's chunk has, unless one row is
// longer.
func (s *sorter) chunkSize() int { return min(64<<10, s.memory/32) }

func (s *sorter) create(ctx context.Context) (*runWriter, error) {
	s.names++
	name := fmt.Sprintf("%s/%06d.run", s.dir, s.names)
	w, err := s.store.Create(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("spill operations: %w", err)
	}
	return &runWriter{w: w, size: s.chunkSize(), run: run{name: name}}, nil
}

// sorted calls fn with all rows in order.
func (s *sorter) sorted(ctx context.Context, fn func(*merge) error) error {
	for {
		n := s.fanIn(s.runs)
		if n == len(s.runs) {
			break
		}
		if err := s.mergeRuns(ctx); err != nil {
			return err
		}
	}
	s.sort()
	m, err := s.open(ctx, s.runs)
	if err != nil {
		return err
	}
	if len(s.index) > 0 {
		m.inputs = append(m.inputs, &memoryRun{rows: s.rows, index: s.index})
	}
	if err = m.start(); err == nil {
		err = fn(m)
	}
	return errors.Join(err, m.close())
}

// fanIn is how many of the first runs can be read at once; two always can.
func (s *sorter) fanIn(runs []run) int {
	memory := 0
	for i, r := range runs {
		// As it is stored, and as it is read.
		if memory += 2 * r.chunk; i >= 2 && memory > s.memory/2 {
			return i
		}
	}
	return len(runs)
}

// mergeRuns makes fewer runs of those that are there.
func (s *sorter) mergeRuns(ctx context.Context) error {
	var merged []run
	for rest := s.runs; len(rest) > 0; {
		n := s.fanIn(rest)
		r := rest[0]
		if n > 1 {
			var err error
			if r, err = s.mergeSome(ctx, rest[:n]); err != nil {
				return err
			}
		}
		merged = append(merged, r)
		rest = rest[n:]
	}
	s.runs = merged
	return nil
}

// mergeSome makes one run of several, and removes them.
func (s *sorter) mergeSome(ctx context.Context, runs []run) (r run, err error) {
	m, err := s.open(ctx, runs)
	if err != nil {
		return run{}, err
	}
	if err = m.start(); err == nil {
		r, err = s.write(ctx, m)
	}
	if err = errors.Join(err, m.close()); err != nil {
		return run{}, err
	}
	for _, old := range runs {
		if err := s.store.Delete(ctx, old.name); err != nil {
			return run{}, err
		}
	}
	return r, nil
}

func (s *sorter) write(ctx context.Context, m *merge) (run, error) {
	w, err := s.create(ctx)
	if err != nil {
		return run{}, err
	}
	for m.more() {
		if err := ctx.Err(); err != nil {
			return run{}, w.abort(context.Cause(ctx))
		}
		if err := w.add(m.key().Hash, m.row()); err != nil {
			return run{}, w.abort(err)
		}
		if err := m.next(); err != nil {
			return run{}, w.abort(err)
		}
	}
	return w.finish()
}

func removeAll(ctx context.Context, store disk.Store, dir string) error {
	names, err := store.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
