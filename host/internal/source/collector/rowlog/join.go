package rowlog

import (
	"context"
	"errors"
	"sort"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// mostJoined is how many bytes of rows are joined to one entry, at most.
const mostJoined = 1 << 20

// mostJoining is how many joined entries are on their way to the log at a time, of all
// projects: each has a copy of its rows.
const mostJoining = 4

// joiner joins the rows of small requests of a project that come while an entry of the
// project is on its way to the log. Together they may be enough to be compressed before they
// are logged:
//
//	request   a          b     c     d
//	entry     [a-------- sync] [b c d--- sync]
//
// The first request of a group leads it: it waits for its turn, logs the rows of all, and
// tells the others the outcome.
type joiner struct {
	turns  chan struct{} // holds a value for each joined entry on its way
	memory sync.Pool     // of *joined

	mu    sync.Mutex
	lanes map[int64]*lane // by project
}

// lane is where the requests of a project wait.
type lane struct {
	turn chan struct{} // holds a value while an entry of a group is on its way
	open *group        // that takes further requests; nil: none does. Guarded by the joiner's mu
}

// group is requests whose rows become one entry. The leader's goroutine reads chunks once
// the group is not open any more.
type group struct {
	chunks []journal.Chunk
	bytes  int
	done   chan struct{} // closed when err is set
	err    error
}

func newJoiner() *joiner {
	return &joiner{turns: make(chan struct{}, mostJoining), lanes: map[int64]*lane{}, memory: sync.Pool{New: func() any { return new(joined) }}}
}

// append makes rows durable together with those of other requests, by log.
func (j *joiner) append(ctx context.Context, project int64, c journal.Chunk, bytes int, log func(context.Context, journal.Chunk) error) error {
	g, of, leads := j.enter(project, c, bytes)
	if !leads {
		// The rows are the leader's until it is done.
		<-g.done
		return g.err
	}
	of.turn <- struct{}{}
	defer func() { <-of.turn }()
	j.leave(of, g)
	g.err = errNotLogged // should log panic
	defer close(g.done)
	// The entry is of other requests too, whatever becomes of this one.
	g.err = j.log(context.WithoutCancel(ctx), g, log)
	return g.err
}

var errNotLogged = errors.New("the request that was to log the rows has failed")

// enter has a request join the group that is open, or lead a new one.
func (j *joiner) enter(project int64, c journal.Chunk, bytes int) (g *group, of *lane, leads bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	of = j.lanes[project]
	if of == nil {
		of = &lane{turn: make(chan struct{}, 1)}
		j.lanes[project] = of
	}
	if g = of.open; g != nil && g.bytes+bytes <= mostJoined {
		g.chunks, g.bytes = append(g.chunks, c), g.bytes+bytes
		return g, of, false
	}
	g = &group{chunks: []journal.Chunk{c}, bytes: bytes, done: make(chan struct{})}
	of.open = g
	return g, of, true
}

// leave ends the joining of a group.
func (j *joiner) leave(of *lane, g *group) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if of.open == g {
		of.open = nil
	}
}

// log logs the rows of a group.
func (j *joiner) log(ctx context.Context, g *group, log func(context.Context, journal.Chunk) error) error {
	if len(g.chunks) == 1 {
		return log(ctx, g.chunks[0])
	}
	j.turns <- struct{}{}
	defer func() { <-j.turns }()
	m := j.memory.Get().(*joined)
	defer j.memory.Put(m)
	return log(ctx, m.join(g.chunks))
}

// joined is memory for the rows of a group.
type joined struct {
	rows  []journal.Row
	data  []byte
	marks []rowmark.Mark
}

// join returns the rows of chunks in one chunk: first those of events, which lie side by side
// then, and are compressed where they are.
func (m *joined) join(chunks []journal.Chunk) journal.Chunk {
	m.rows, m.data, m.marks = m.rows[:0], m.data[:0], m.marks[:0]
	for _, c := range chunks {
		m.copy(c, func(k journal.Kind) bool { return k == journal.KindEvents })
	}
	for _, c := range chunks {
		m.copy(c, func(k journal.Kind) bool { return k != journal.KindEvents })
	}
	return journal.Chunk{Rows: m.rows, Data: m.data, Marks: m.marks}
}

// copy copies the rows of some kinds of a chunk, in order, with their marks. Rows that lie
// side by side are copied as a whole.
func (m *joined) copy(c journal.Chunk, has func(journal.Kind) bool) {
	marks := c.Marks
	for rows := c.Rows; len(rows) > 0; {
		if !has(rows[0].Kind) {
			rows = rows[1:]
			continue
		}
		from := rows[0].Offset
		n, end := 0, from
		for n < len(rows) && has(rows[n].Kind) && rows[n].Offset == end {
			end += rows[n].Length
			n++
		}
		by := len(m.data) - from
		marks = m.move(marks, from, end, by)
		m.data = append(m.data, c.Data[from:end]...)
		for _, r := range rows[:n] {
			r.Offset += by
			m.rows = append(m.rows, r)
		}
		rows = rows[n:]
	}
}

// move adds the marks of the bytes between two places, moved by some bytes. It returns the
// marks of the bytes that follow.
func (m *joined) move(marks []rowmark.Mark, from, end, by int) []rowmark.Mark {
	marks = marks[before(marks, from):]
	n := before(marks, end)
	added := len(m.marks)
	m.marks = append(m.marks, marks[:n]...)
	for i := added; i < len(m.marks); i++ {
		m.marks[i].At += int32(by)
	}
	return marks[n:]
}

// before returns how many marks are before a place.
func before(marks []rowmark.Mark, place int) int {
	return sort.Search(len(marks), func(i int) bool { return int(marks[i].At) >= place })
}
