package files

import (
	"bytes"
	"io"

	"github.com/penstock-io/penstock/host/internal/ingest"
)

// ahead splits the windows of a file of arrays into records before their turn, each in a
// goroutine of its own. Where a window ends is known only when all of it was split, so it
// is guessed: before the last object that begins as the window does.
//
//	[{"event":1,…},{"event":2,…},{"event":3,…},{"event":4,…},{"event":5,…
//	 └─ window 1 ───────────────────┤              guess: before {"event":3
//	                              └─ window 2 ──────────────────┤
//
// A window is taken only if the splitter, having split it and every one before, stands
// where the next one begins. After a wrong guess, as when an item of a list begins like a
// record, the bytes of all windows go back, and the reader splits the next window alone,
// so that pieces are the same with and without ahead.
//
// It is for the goroutine of its reader.
type ahead struct {
	most    int // windows at a time; below 2: ahead does nothing
	windows []*window
	wrong   int // guesses, one after the other
}

// wrongGuesses is how many guesses may be wrong, one after the other, until a file is not
// split ahead any more.
const wrongGuesses = 3

// window is the bytes of one piece, and of the beginning of the next one.
type window struct {
	data     []byte
	buffer   *[]byte
	fresh    int   // data[fresh:] is not in the window before
	cut      int   // the guess; 0: there is none, and the window is the last
	ended    error // of the file, behind data
	splitter *ingest.Splitter
	arrays   int // that are open where it begins, and must be where it ends
	records  []ingest.Span
	right    bool          // the splitter stands at cut; set before done is closed
	done     chan struct{} // nil without a guess
}

// take returns the next window if it was split, and its guess is right. Otherwise the
// reader has all bytes that follow its carry.
func (a *ahead) take(r *reader) *window {
	if a.most < 2 || a.wrong == wrongGuesses || r.ended != nil || r.splitter == nil || !r.splitter.StandsAt(0, r.splitter.Arrays()) {
		return nil
	}
	a.extend(r)
	w := a.windows[0]
	if w.done == nil {
		if w.ended == nil {
			a.wrong++ // no record ends in it
		}
		a.giveBack(r)
		return nil
	}
	<-w.done
	if !w.right {
		a.wrong++
		a.giveBack(r)
		return nil
	}
	a.wrong = 0
	a.windows = append(a.windows[:0], a.windows[1:]...)
	return w
}

// extend reads windows as far ahead as may be.
func (a *ahead) extend(r *reader) {
	begin := r.carry
	for len(a.windows) < a.most {
		if n := len(a.windows); n > 0 {
			last := a.windows[n-1]
			if last.cut == 0 {
				return
			}
			begin = last.data[last.cut:]
		}
		a.windows = append(a.windows, r.window(begin))
	}
}

// window reads a window that begins with the given bytes, and has it split.
func (r *reader) window(begin []byte) *window {
	w := &window{buffer: r.source.buffers.Get().(*[]byte), fresh: len(begin)}
	w.data, w.ended = fill(r.content, append((*w.buffer)[:0], begin...))
	if w.ended == nil {
		w.cut = lastRecord(w.data)
	}
	if w.cut > 0 {
		w.splitter, w.arrays = r.splitter.Within(), r.splitter.Arrays()
		w.done = make(chan struct{})
		go func() {
			defer close(w.done)
			w.split()
		}()
	}
	return w
}

// split finds the records of a window.
func (w *window) split() {
	for {
		record, state := w.splitter.Next(w.data, false)
		if state != ingest.Complete {
			w.right = state == ingest.Incomplete && w.splitter.StandsAt(w.cut, w.arrays)
			return
		}
		w.records = append(w.records, record)
	}
}

// giveBack has the reader read the bytes of all windows again.
func (a *ahead) giveBack(r *reader) {
	var rest []io.Reader
	for _, w := range a.windows {
		rest = append(rest, bytes.NewReader(bytes.Clone(w.data[w.fresh:])))
		if w.ended != nil {
			rest = append(rest, endedBy{w.ended})
		}
	}
	a.drop(r)
	r.content = io.MultiReader(append(rest, r.content)...)
}

// drop forgets all windows, when nothing splits them any more.
func (a *ahead) drop(r *reader) {
	for _, w := range a.windows {
		if w.done != nil {
			<-w.done
		}
		r.source.buffers.Put(w.buffer)
	}
	a.windows = nil
}

// endedBy is a reader at its end, which an error is.
type endedBy struct{ err error }

func (e endedBy) Read([]byte) (int, error) { return 0, e.err }

const (
	longestBegin = 256 // bytes of an object up to the end of its first key
	looks        = 8   // objects that are looked at, from the end of a window
)

// lastRecord returns where the last object of a window begins that looks like the first
// one: it has the same first key, and follows another object. 0: there is none.
func lastRecord(window []byte) int {
	if !bytes.HasPrefix(window, []byte(`{"`)) {
		return 0
	}
	n := bytes.IndexByte(window[2:min(len(window), longestBegin)], '"')
	if n < 0 {
		return 0
	}
	begin, end := window[:2+n+1], len(window)
	for range looks {
		at := bytes.LastIndex(window[:end], begin)
		if at <= 0 {
			return 0
		}
		const space = " \t\r\n"
		before := bytes.TrimRight(window[:at], space)
		if bare, ok := bytes.CutSuffix(before, []byte(",")); ok && bytes.HasSuffix(bytes.TrimRight(bare, space), []byte("}")) {
			return at
		}
		end = at
	}
	return 0
}
