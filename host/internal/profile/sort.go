package profile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// sorter orders rows of operations by the key of their profile, and those of
// one profile as they came. What does not fit into memory is spilled to runs:
// sorted files. Half of the memory is for rows that come, half for reading runs.
type sorter struct {
	store  disk.Store
	dir    string
	memory int

	rows  []byte
	index []place
	runs  []run
	names int // of runs so far
	count int64
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
	s.count++
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

// spill writes what is in memory as a run.
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

// A run is a sequence of chunks: a CRC-32C of what follows, the length of its
// rows, how many bytes are stored, all little-endian, and the stored bytes: S2
// of, for each row, its hash and length and itself.
const chunkHeader = 12

// runWriter writes a run.
type runWriter struct {
	run    run
	w      disk.Writer
	size   int
	chunk  []byte
	stored []byte
}

func (w *runWriter) add(hash uint64, row []byte) error {
	if len(w.chunk) > 0 && len(w.chunk)+len(row) > w.size {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.chunk = binary.LittleEndian.AppendUint64(w.chunk, hash)
	w.chunk = binary.LittleEndian.AppendUint32(w.chunk, uint32(len(row)))
	w.chunk = append(w.chunk, row...)
	return nil
}

func (w *runWriter) flush() error {
	if len(w.chunk) == 0 {
		return nil
	}
	w.run.chunk = max(w.run.chunk, len(w.chunk))
	room := chunkHeader + s2.MaxEncodedLen(len(w.chunk))
	if cap(w.stored) < room {
		w.stored = make([]byte, room)
	}
	stored := s2.Encode(w.stored[chunkHeader:room], w.chunk)
	out := w.stored[:chunkHeader+len(stored)]
	binary.LittleEndian.PutUint32(out[4:], uint32(len(w.chunk)))
	binary.LittleEndian.PutUint32(out[8:], uint32(len(stored)))
	binary.LittleEndian.PutUint32(out, segment.Checksum(out[4:]))
	w.chunk = w.chunk[:0]
	if _, err := w.w.Write(out); err != nil {
		return fmt.Errorf("write %s: %w", w.run.name, err)
	}
	return nil
}

func (w *runWriter) finish() (run, error) {
	if err := w.flush(); err != nil {
		return run{}, w.abort(err)
	}
	return w.run, w.w.Commit()
}

func (w *runWriter) abort(err error) error { return errors.Join(err, w.w.Abort()) }

// input is sorted rows, one at a time.
type input interface {
	// next moves to the next row, and says whether there is one.
	next() (bool, error)
	// current is the row and its key, valid until next.
	current() (generation.Key, []byte)
	close() error
}

// memoryRun reads what was not spilled.
type memoryRun struct {
	rows  []byte
	index []place
	read  bool
}

func (r *memoryRun) next() (bool, error) {
	if r.read {
		r.index = r.index[1:]
	}
	r.read = true
	return len(r.index) > 0, nil
}

func (r *memoryRun) current() (generation.Key, []byte) {
	p := r.index[0]
	return p.key(r.rows), r.rows[p.from : p.from+p.length]
}

func (r *memoryRun) close() error { return nil }

// fileRun reads a run.
type fileRun struct {
	name   string
	file   disk.Reader
	offset int64
	stored []byte
	chunk  []byte
	rest   []byte // of chunk
	key    generation.Key
	row    []byte
}

func (r *fileRun) next() (bool, error) {
	if len(r.rest) == 0 {
		if r.offset == r.file.Size() {
			return false, nil
		}
		if err := r.read(); err != nil {
			return false, fmt.Errorf("read %s: %w", r.name, err)
		}
	}
	hash, length := binary.LittleEndian.Uint64(r.rest), binary.LittleEndian.Uint32(r.rest[8:])
	r.row, r.rest = r.rest[12:12+length], r.rest[12+length:]
	o, err := schema.SplitOperation(r.row)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", r.name, err)
	}
	r.key = generation.Key{Hash: hash, ID: o.ID}
	return true, nil
}

var errDamagedRun = errors.New("the file is not as it was written")

// read reads a chunk.
func (r *fileRun) read() error {
	var header [chunkHeader]byte
	if err := readFull(r.file, header[:], r.offset); err != nil {
		return err
	}
	length, stored := binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
	if int64(stored) > r.file.Size()-r.offset-chunkHeader {
		return errDamagedRun
	}
	r.stored = slices.Grow(r.stored[:0], chunkHeader+int(stored))[:chunkHeader+stored]
	if err := readFull(r.file, r.stored, r.offset); err != nil {
		return err
	}
	if segment.Checksum(r.stored[4:]) != binary.LittleEndian.Uint32(header[:]) {
		return errDamagedRun
	}
	r.offset += int64(len(r.stored))
	r.chunk = slices.Grow(r.chunk[:0], int(length))
	var err error
	r.chunk, err = s2.Decode(r.chunk[:cap(r.chunk)], r.stored[chunkHeader:])
	r.rest = r.chunk
	return err
}

func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

func (r *fileRun) current() (generation.Key, []byte) { return r.key, r.row }

func (r *fileRun) close() error { return r.file.Close() }

// merge reads several inputs as one: a heap of those that have a row, by key
// and then by their order.
type merge struct {
	inputs []input
	heap   []head
}

type head struct {
	key   generation.Key
	order int
	input input
}

func (h head) less(o head) bool {
	if c := h.key.Compare(o.key); c != 0 {
		return c < 0
	}
	return h.order < o.order
}

func (s *sorter) open(ctx context.Context, runs []run) (*merge, error) {
	m := &merge{}
	for _, r := range runs {
		f, err := s.store.Open(ctx, r.name)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.inputs = append(m.inputs, &fileRun{name: r.name, file: f})
	}
	return m, nil
}

// start reads the first row of each input.
func (m *merge) start() error {
	for i, in := range m.inputs {
		there, err := in.next()
		if err != nil {
			return err
		}
		if there {
			k, _ := in.current()
			m.heap = append(m.heap, head{k, i, in})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return nil
}

func (m *merge) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.heap[child].less(m.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// more says whether there is a row.
func (m *merge) more() bool { return len(m.heap) > 0 }

// key is that of the row, valid until next.
func (m *merge) key() generation.Key { return m.heap[0].key }

func (m *merge) row() []byte {
	_, row := m.heap[0].input.current()
	return row
}

func (m *merge) next() error {
	top := &m.heap[0]
	there, err := top.input.next()
	if err != nil {
		return err
	}
	if there {
		top.key, _ = top.input.current()
	} else {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.down(0)
	return nil
}

func (m *merge) close() error {
	var errs []error
	for _, in := range m.inputs {
		errs = append(errs, in.close())
	}
	return errors.Join(errs...)
}
