package files

import (
	"bytes"
	"context"
	"errors"
	"slices"
)

// mostTurns is the most files that are read in turns. Eight goroutines decompress more
// than the one that takes the pieces of a source can hand on.
const mostTurns = 8

// turns are the files that a source reads at the moment, and those that it has opened
// before their turn.
//
// A file is decompressed by one goroutine, which takes longer than everything else that
// happens to a file in order. So several compressed files are open at a time.
// Each is decompressed ahead by its prefetch, and gives one piece after the other in turns:
//
//	waiting   a.gz  b.gz  c.gz  d.gz  e.gz
//	pieces    a1 b1 a2 b2 c1 b3 c2 d1 b4 e1      two files at a time
//
// The order of pieces follows from the files and from width, and not from which goroutine
// was faster. A file joins others only if nothing depends on their being read to the end
// before it. Otherwise it waits until no file is open:
//
//   - a plain file, which gains nothing, or an object of a bucket;
//   - a file whose content begins as that of one that is open, or was read, does: it may
//     be a copy, or the same file renamed, whose rest is read where the other one ends;
//   - a file that has replaced another under its path;
//   - a file that could not be opened ahead: the error is that of its turn.
//
// It is for the goroutine of its source.
type turns struct {
	width   int        // files in turns at most
	depth   int        // files that are opened before their turn at most
	open    []*reader  // in the order in which they were opened; a file gives its first piece when it joins
	next    int        // whose turn it is; len(open): the first one's, unless a file joins
	joined  bool       // whether a file has joined at the end of the last round
	opening []*opening // of the first files that wait, in their order
	ahead   bool       // whether the file that was opened last is one that others may join
	failed  error      // ends the reading when the files before the failed one are read
}

// add gives the next turn to a file.
func (t *turns) add(r *reader) {
	t.next = len(t.open)
	t.open = append(t.open, r)
	t.ahead = r.prefetch != nil && !isObject(r.entry.path)
}

// current returns the file whose turn it is.
func (t *turns) current() *reader {
	if t.next == len(t.open) {
		t.next = 0
	}
	return t.open[t.next]
}

// endOfRound reports whether a file may join: each has had its turn since another joined.
func (t *turns) endOfRound() bool {
	if len(t.open) == 0 {
		return true
	}
	if t.next < len(t.open) {
		return false
	}
	just := t.joined
	t.joined = false
	return !just
}

// share returns how many windows of arrays each file may have split at a time, of all. One
// window alone would be of no use.
func (t *turns) share(all int) int {
	if all < 2 {
		return 0
	}
	return max(2, all/len(t.open))
}

// pass gives the turn to the next file.
func (t *turns) pass() { t.next++ }

// end closes the file whose turn it is, and gives it to the next one.
func (t *turns) end() error {
	r := t.open[t.next]
	t.open = slices.Delete(t.open, t.next, t.next+1)
	return r.close()
}

// shift returns the opening of the first file that waits, and removes it; nil: there is none.
func (t *turns) shift() *opening {
	if len(t.opening) == 0 {
		return nil
	}
	o := t.opening[0]
	t.opening = t.opening[1:]
	return o
}

// fail notes the error of the file whose turn it is. The files after it are closed.
func (t *turns) fail(err error) error {
	t.failed = err
	after := t.open[t.next:]
	t.open, t.next = t.open[:t.next], 0
	return t.closeAll(after)
}

// close closes all files.
func (t *turns) close() error {
	open := t.open
	t.open, t.next = nil, 0
	return t.closeAll(open)
}

// closeAll closes some files, and all that are opened before their turn.
func (t *turns) closeAll(open []*reader) error {
	var err error
	for _, r := range open {
		err = errors.Join(err, r.close())
	}
	for o := t.shift(); o != nil; o = t.shift() {
		err = errors.Join(err, o.drop())
	}
	return err
}

// opening is a file that is opened before its turn, in a goroutine of its own.
type opening struct {
	stop context.CancelFunc
	done chan struct{}
	// The goroutine sets these before it closes done.
	reader *reader // nil: the file is opened in its turn, alone
	isNew  bool    // the path had no cursor
	head   []byte  // of a new file: the first bytes of its content
}

// drop ends the opening, and closes the file if it was opened.
func (o *opening) drop() error {
	o.stop()
	<-o.done
	if o.reader == nil {
		return nil
	}
	return o.reader.close()
}

// openAhead begins to open files before their turn.
func (s *Source) openAhead(ctx context.Context) {
	t := &s.turns
	for t.ahead && len(t.opening) < min(t.depth, len(s.waiting)) {
		t.opening = append(t.opening, s.startOpening(ctx, s.waiting[len(t.opening)]))
	}
}

func (s *Source) startOpening(ctx context.Context, e entry) *opening {
	ctx, stop := context.WithCancel(ctx)
	o := &opening{stop: stop, done: make(chan struct{})}
	value := s.cursors[e.path]
	o.isNew = value == nil
	var c cursor
	if !o.isNew {
		var err error
		if c, err = decodeCursor(value); err != nil || c.Sum == "" || c.replacedBy(e) {
			close(o.done)
			return o
		}
	}
	go func() {
		defer close(o.done)
		r := s.openEarly(ctx, o, e, c)
		if r != nil && o.isNew {
			o.head = r.prefetch.peek(maxHead)
			if len(o.head) < maxHead && r.stored.failed() != nil {
				_ = r.close() // it may be a copy, which so few bytes do not tell
				return
			}
		}
		o.reader = r
	}()
	return o
}

// openEarly opens a file at its cursor, or at its beginning if it is new; nil if it is
// not compressed, its content is not that of the cursor, or it cannot be opened. It uses
// nothing of the source that changes.
func (s *Source) openEarly(ctx context.Context, o *opening, e entry, c cursor) *reader {
	if o.isNew {
		var err error
		if c.Head, c.HeadSize, err = s.head(ctx, e, maxHead); err != nil {
			return nil
		}
	}
	c.again(e, s.o.Now())
	r, err := s.openStored(ctx, e)
	if err != nil {
		return nil
	}
	r.stop = o.stop
	if !r.suitsAhead() {
		_ = r.close() // nothing was read of it
		return nil
	}
	if r, err = s.moveTo(ctx, r, c); err != nil {
		return nil
	}
	return r
}

// mostWindow is the largest window of a zstd file that is opened before its turn: each
// one takes that much memory.
const mostWindow = 8 << 20

// suitsAhead reports whether a file is worth to be opened before its turn, and takes little
// memory. Objects of buckets are not: a server may keep one waiting, and the others with it,
// and ends connections from which nothing is read for a while.
func (r *reader) suitsAhead() bool {
	return r.ended == nil && r.compressed && !isObject(r.entry.path) && r.memory <= mostWindow
}

// join adds the first file that waits to those that are read, if it was opened before and
// may join them.
func (s *Source) join() {
	t := &s.turns
	if len(t.opening) == 0 || len(t.open) >= t.width {
		return
	}
	o := t.opening[0]
	<-o.done
	if s.mayJoin(o) {
		t.add(t.shift().reader)
		t.joined = true
		s.waiting = s.waiting[1:]
	}
}

// mayJoin reports whether a file that was opened before its turn is read where it was
// opened, whatever else is read.
func (s *Source) mayJoin(o *opening) bool {
	if o.reader == nil || !o.isNew {
		return o.reader != nil
	}
	for _, r := range s.turns.open {
		r.settle() // candidates are found by the cursors of files
	}
	known, err := s.candidates(o.head, o.reader.entry.path)
	if err != nil || len(known) > 0 {
		return false
	}
	return !slices.ContainsFunc(s.turns.open, func(r *reader) bool { return r.beginsLike(o.head) })
}

// beginsLike reports whether the beginnings of the file and of some content are the same,
// as far as both go. The file has given a piece.
func (r *reader) beginsLike(head []byte) bool {
	begin := r.start
	if room := maxHead - len(begin); room > 0 {
		begin = append(bytes.Clone(begin), r.carry[:min(room, len(r.carry))]...)
	}
	n := min(len(begin), len(head))
	return n > 0 && bytes.Equal(begin[:n], head[:n])
}
