package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
)

// Options configure a Log. Zero is the default, given behind each.
type Options struct {
	FileSystem FileSystem // required
	Segment    int64      // bytes at which a file is followed by the next; 16 MiB
	Batch      int64      // bytes that one sync makes durable at most, but one entry; 4 MiB
	// After is an index up to which entries were in the journal already: a log
	// without files begins behind it, and one that ends before it is refused.
	After uint64
	// Lost is told of entries that are missing, before the log is changed: after
	// Open nothing tells of them any more. An error ends Open. nil: they are not
	// reported.
	Lost func(Loss) error
}

// MaxEntry is the most bytes of an entry.
const MaxEntry = 64 << 20

var (
	// ErrFull says that the disk is full. The entry is not in the log, and the
	// log works again when there is room.
	ErrFull = errors.New("the disk is full")
	// ErrBroken says that a sync failed, so that the state of the file on disk is
	// not known. The entries of that batch are not acknowledged. The log takes no
	// entries until Repair, or until it is opened again.
	ErrBroken = errors.New("the write-ahead log is broken until it is repaired")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("the write-ahead log is closed")
	// ErrTooLarge says that an entry is larger than MaxEntry.
	ErrTooLarge = fmt.Errorf("the entry is larger than %d bytes", MaxEntry)
)

// Log is an open log. It may be used concurrently.
type Log struct {
	fs      FileSystem
	segment int64
	batch   int64

	requests chan *request
	repairs  chan chan error
	closing  chan struct{}
	done     chan struct{} // closed when the writer has ended

	// The writer's own.
	active File // nil: a repair has closed it
	mark   *mark
	buffer []byte

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a field below changes
	files   []file        // oldest first; the last is active
	last    uint64        // index of the last durable entry
	err     error         // ErrBroken or ErrClosed, with its reason
}

// file is one file of the log.
type file struct {
	first uint64 // index of its first entry
	size  int64  // durable bytes
}

// request is an entry that waits to be written.
type request struct {
	payload [][]byte
	size    int64 // of the payload
	index   uint64
	err     error
	done    chan struct{} // nil: the caller waits for an entry before
	next    *request      // the entry behind, of the same call
}

// Recovery is the state that Open found.
type Recovery struct {
	First, Last uint64 // indexes; Last+1 == First: the log is empty
	// Cut is how many bytes of a torn tail were cut: entries that no caller was
	// told of, unless Options.Lost was told of them.
	Cut int64
}

// Open opens the log, or begins one. The caller closes it. *DamagedError when
// durable entries are corrupt.
func Open(o Options) (*Log, Recovery, error) {
	if o.Segment == 0 {
		o.Segment = 16 << 20
	}
	if o.Batch == 0 {
		o.Batch = 4 << 20
	}
	l := &Log{
		fs: o.FileSystem, segment: o.Segment, batch: o.Batch,
		requests: make(chan *request), repairs: make(chan chan error), closing: make(chan struct{}), done: make(chan struct{}),
		changed: make(chan struct{}),
	}
	cut, err := l.recover(o.After, o.Lost)
	if err != nil {
		return nil, Recovery{}, fmt.Errorf("open write-ahead log: %w", err)
	}
	go l.write()
	return l, Recovery{First: l.files[0].first, Last: l.last, Cut: cut}, nil
}

// Append appends an entry, which may come in parts, and returns its index when
// it is durable. payload is not kept. When ctx ends before, the entry may be in
// the log or not.
func (l *Log) Append(ctx context.Context, payload ...[]byte) (uint64, error) {
	r := &request{payload: payload, size: sizeOf(payload)}
	err := l.submit(ctx, r)
	return r.index, err
}

// AppendAll appends entries, each of which may come in parts, one behind the other, and
// returns when all of them are durable. After an error none of them is in the log; after
// ErrBroken, once the log is repaired. payloads are not kept.
func (l *Log) AppendAll(ctx context.Context, payloads ...[][]byte) error {
	var first *request
	for _, payload := range slices.Backward(payloads) {
		first = &request{payload: payload, size: sizeOf(payload), next: first}
	}
	if first == nil {
		return nil
	}
	return l.submit(ctx, first)
}

// submit has the writer write an entry, and the entries behind it, and waits until it has.
func (l *Log) submit(ctx context.Context, first *request) error {
	for r := first; r != nil; r = r.next {
		if r.size > MaxEntry {
			return ErrTooLarge
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	first.done = make(chan struct{})
	select {
	case l.requests <- first:
	case <-l.done:
		return l.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The payloads are the writer's until it is done.
	<-first.done
	return first.err
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// write is the writer's goroutine: batch after batch.
func (l *Log) write() {
	defer close(l.done)
	for {
		select {
		case r := <-l.requests:
			l.commit(l.gather(r))
		case reply := <-l.repairs:
			reply <- l.repair()
		case <-l.closing:
			return
		}
	}
}

// gather takes the waiting requests, up to a batch. Those of a call are in one batch.
func (l *Log) gather(next *request) []*request {
	var batch []*request
	for size := int64(0); ; {
		for ; next != nil; next = next.next {
			batch = append(batch, next)
			size += next.size
		}
		if size >= l.batch {
			return batch
		}
		select {
		case next = <-l.requests:
		default:
			return batch
		}
	}
}

// commit makes a batch durable and tells its callers.
func (l *Log) commit(batch []*request) {
	err := l.store(batch)
	for _, r := range batch {
		if r.done != nil {
			r.err = err
			close(r.done)
		}
	}
}

// store writes a batch, in one file, and syncs it.
func (l *Log) store(batch []*request) error {
	if err := l.failure(); err != nil {
		return err
	}
	l.mu.Lock()
	current, next := l.files[len(l.files)-1], l.last+1
	l.mu.Unlock()
	if current.size >= l.segment {
		var err error
		if current, err = l.rotate(next); err != nil {
			return full(fmt.Errorf("begin a file of the write-ahead log: %w", err))
		}
	}
	size := int64(0)
	for _, r := range batch {
		size += frameHeader + r.size
	}
	l.buffer = slices.Grow(l.buffer[:0], int(size))
	for i, r := range batch {
		r.index = next + uint64(i)
		l.buffer = appendFrame(l.buffer, r.index, current.size, r.payload...)
	}
	if _, err := l.active.WriteAt(l.buffer, current.size); err != nil {
		// A part of the batch that was written must not come back.
		cutErr := l.active.Truncate(current.size)
		if cutErr == nil {
			cutErr = l.active.Sync()
		}
		if cutErr != nil {
			return l.breakDown(errors.Join(err, cutErr))
		}
		return full(fmt.Errorf("write to the write-ahead log: %w", err))
	}
	if err := l.active.Sync(); err != nil {
		return l.breakDown(err)
	}
	if cap(l.buffer) > int(2*l.batch) {
		l.buffer = nil // of an entry as large as entries seldom are
	}
	last := batch[len(batch)-1].index
	l.mark.set(last)
	l.publish(func() {
		f := &l.files[len(l.files)-1]
		f.size = current.size + size
		l.last = last
	})
	return nil
}

// full adds ErrFull to an error that says so.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// breakDown refuses further entries: the state of the active file on disk is not
// known.
func (l *Log) breakDown(err error) error {
	err = fmt.Errorf("%w: %w", ErrBroken, err)
	l.publish(func() {
		if l.err == nil {
			l.err = err
		}
	})
	return err
}

// AwaitBroken returns nil once the log is broken, ErrClosed once it is closed, or
// the cause of ctx's end.
func (l *Log) AwaitBroken(ctx context.Context) error {
	for {
		l.mu.Lock()
		err, changed := l.err, l.changed
		l.mu.Unlock()
		switch {
		case errors.Is(err, ErrClosed):
			return err
		case err != nil:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Repair makes a broken log take entries again, in a new file. Entries that were
// not acknowledged are cut off. It may be called again after an error; ErrClosed
// says that the log is closed.
func (l *Log) Repair() error {
	reply := make(chan error, 1)
	select {
	case l.repairs <- reply:
		return <-reply
	case <-l.done:
		return l.failure()
	}
}

// repair is Repair in the writer's goroutine. The file of the failed batch is cut
// after its last durable entry and never written again: after a failed sync its
// descriptor, and the system's cache of it, may report success for bytes that
// are not on disk.
func (l *Log) repair() error {
	if err := l.failure(); err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	l.mu.Lock()
	newest, last := l.files[len(l.files)-1], l.last
	l.mu.Unlock()
	if l.active != nil {
		_ = l.active.Close() // nothing that it holds is trusted
		l.active = nil
	}
	err := l.cut(newest, last)
	var next File
	if err == nil {
		next, err = create(l.fs, last+1, l.segment)
	}
	if err != nil {
		return full(fmt.Errorf("repair the write-ahead log: %w", err))
	}
	mark, err := openMark(l.fs, last)
	if err != nil {
		return full(errors.Join(fmt.Errorf("repair the write-ahead log: %w", err), next.Close()))
	}
	_ = l.mark.file.Close() // it is not synced
	l.active, l.mark = next, mark
	l.publish(func() {
		f := file{first: last + 1, size: headerSize}
		if newest.first == f.first {
			l.files[len(l.files)-1] = f
		} else {
			l.files = append(l.files, f)
		}
		if !errors.Is(l.err, ErrClosed) {
			l.err = nil
		}
	})
	return nil
}

// cut cuts a file after its last durable entry, durably. One without entries is
// created again instead.
func (l *Log) cut(newest file, last uint64) error {
	if newest.first == last+1 {
		return nil
	}
	f, err := l.fs.Open(nameOf(newest.first))
	if err != nil {
		return err
	}
	err = f.Truncate(newest.size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (l *Log) publish(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	close(l.changed)
	l.changed = make(chan struct{})
}

// rotate begins the file that starts with an index.
func (l *Log) rotate(first uint64) (file, error) {
	next, err := create(l.fs, first, l.segment)
	if err != nil {
		return file{}, err
	}
	// Everything in it was synced.
	_ = l.active.Close()
	l.active = next
	f := file{first: first, size: headerSize}
	l.publish(func() { l.files = append(l.files, f) })
	return f, nil
}

// Drop drops whole files of entries up to an index. Entries behind the index
// are kept, and some before it may be.
func (l *Log) Drop(upTo uint64) error {
	l.mu.Lock()
	n := 0
	for n+1 < len(l.files) && l.files[n+1].first <= upTo+1 {
		n++
	}
	gone := slices.Clone(l.files[:n])
	l.files = slices.Delete(l.files, 0, n)
	l.mu.Unlock()
	// The oldest first: a crash leaves no gap. Nor does an error: the next Drop
	// begins with the files that are still there.
	for i, f := range gone {
		if err := l.fs.Remove(nameOf(f.first)); err != nil {
			l.mu.Lock()
			l.files = slices.Insert(l.files, 0, gone[i:]...)
			l.mu.Unlock()
			return fmt.Errorf("drop %s of the write-ahead log: %w", nameOf(f.first), err)
		}
	}
	return nil
}

// First is the index of the first entry that the log still has; Last+1 when it
// has none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files[0].first
}

// Last is the index of the last durable entry; 0: there was none yet.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Size is how many bytes the log takes on disk.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, f := range l.files {
		n += f.size
	}
	return n
}

// Err is why the log takes nothing any more, ErrBroken or ErrClosed; nil while
// it does.
func (l *Log) Err() error { return l.failure() }

// Close closes the log. Appends that wait are refused or carried out; readers
// get ErrClosed after the last durable entry.
func (l *Log) Close() error {
	l.publish(func() {
		if l.err == nil || errors.Is(l.err, ErrBroken) {
			l.err = errors.Join(ErrClosed, l.err)
		}
	})
	select {
	case <-l.closing:
	default:
		close(l.closing)
	}
	<-l.done
	err := l.mark.file.Close()
	if l.active != nil {
		err = errors.Join(err, l.active.Close())
	}
	if err != nil {
		return fmt.Errorf("close write-ahead log: %w", err)
	}
	return nil
}
