package mixpanel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// parallel is the most queries of one PullDue or PullDays that are under way at the
// same time: some are downloaded while the events of another are stored. The disk
// holds at most as many downloads, and memory their buffers, of a few MiB each.
const parallel = 4

// flight is a query that is carried out. The Source's mu guards it, except query.
type flight struct {
	query Query
	file  string // of its download, without suffix; "" until the query is sent
	bytes int64  // of its lines, so far
}

// supply gives out the queries of one call that carries out several.
type supply struct {
	// peek returns the query that comes next; ok is false if there is none now.
	peek func() (q Query, ok bool)
	// pop is called when the query that peek returned is begun.
	pop func()
	// cut takes the days of a query whose stream was cut, and reports whether peek
	// returns them again; nil: it never does.
	cut func(q Query) bool
}

// PullDue carries out the queries that are due, several at once, until none is, or
// until an error stops it:
//
//	Truncated    the days of the query are held back, and other days go on
//	other errors no query is begun; those under way end
//
// After Retire no query is begun either; this is not an error.
//
// It returns the error that stopped it, or else those of the days that are held
// back. waits, which may be nil, is told until when no query may be sent.
func (s *Source) PullDue(ctx context.Context, waits func(until time.Time), store Store) error {
	return s.carryOut(ctx, supply{peek: s.due, pop: func() {}}, waits, store)
}

// PullDays carries out queries for days that a person asks for, the latest first,
// otherwise like PullDue. Once the size of a day is known, days share queries. The days
// of a shared query whose stream was cut are pulled one by one, after the others.
func (s *Source) PullDays(ctx context.Context, from, to journal.Day, waits func(until time.Time), store Store) error {
	var next Query
	var again []journal.Day
	return s.carryOut(ctx, supply{
		peek: func() (q Query, ok bool) {
			switch {
			case to >= from:
				next = s.latest(from, to)
			case len(again) > 0:
				next = Query{From: again[0], To: again[0], Why: Requested}
			default:
				return Query{}, false
			}
			return next, true
		},
		pop: func() {
			if to >= from {
				to = next.From - 1
			} else {
				again = again[1:]
			}
		},
		cut: func(q Query) bool {
			for d := q.To; d >= q.From && q.Days() > 1; d-- {
				again = append(again, d)
			}
			return q.Days() > 1
		},
	}, waits, store)
}

// due returns the query that the schedule has next, if it is due.
func (s *Source) due() (q Query, ok bool) {
	q, at, ok := s.Next()
	return q, ok && !at.After(s.o.Now())
}

// carryOut carries out the queries of a supply. All of them have ended when it
// returns.
func (s *Source) carryOut(ctx context.Context, from supply, waits func(time.Time), store Store) error {
	r := round{source: s, cut: from.cut, ended: make(chan landing)}
	for {
		q, ok := Query{}, false
		if r.stopped == nil && !s.isRetired() && r.flying < s.width() {
			q, ok = from.peek()
		}
		switch {
		case !ok && r.flying == 0 && r.stopped != nil:
			return r.stopped
		case !ok && r.flying == 0:
			return r.failed
		case !ok:
			r.landed(<-r.ended)
		case r.mayBegin(ctx, waits):
			from.pop()
			f := s.begin(q)
			r.flying++
			go func() { r.ended <- landing{q, s.fly(ctx, f, store)} }()
		}
	}
}

// round is the state of one carryOut.
type round struct {
	source  *Source
	cut     func(q Query) bool // of the supply
	ended   chan landing
	flying  int
	inRow   int   // queries that failed without one that succeeded in between
	failed  error // of queries whose days are held back
	stopped error // no other query is begun
}

// landing is the end of a query.
type landing struct {
	query Query
	err   error
}

// mayBegin reports whether a query may be sent now. If not, it waits until one may,
// or until a query that is under way ends.
func (r *round) mayBegin(ctx context.Context, waits func(time.Time)) bool {
	if ctx.Err() != nil {
		r.stopped = context.Cause(ctx)
		return false
	}
	budget := r.source.o.Export
	now := budget.now()
	at := budget.Next(now)
	if !at.After(now) {
		return true
	}
	if waits != nil {
		waits(at)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	free := make(chan struct{})
	go func() {
		defer close(free)
		// Its error is the end of waiting.
		_ = budget.wait(waiting, at.Sub(now))
	}()
	select {
	case <-free:
	case <-r.source.retired:
		cancel()
		<-free
	case l := <-r.ended:
		cancel()
		<-free
		r.landed(l)
	}
	return false
}

// landed notes the result of a query.
func (r *round) landed(l landing) {
	r.flying--
	if l.err == nil {
		r.inRow = 0
		return
	}
	r.inRow++
	// A network that cuts everything is not asked for each day in turn.
	if r.stopped == nil && (KindOf(l.err) != Truncated || r.inRow >= parallel) {
		r.stopped = l.err
		return
	}
	if r.cut == nil || KindOf(l.err) != Truncated || !r.cut(l.query) {
		r.failed = errors.Join(r.failed, l.err)
	}
}

// width is how many queries may be under way: one until a day's size is known, so
// that the next queries can ask for several days.
func (s *Source) width() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.schedule.average(); !known {
		return 1
	}
	return parallel
}

// begin begins a flight: its days are not due until it has ended.
func (s *Source) begin(q Query) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &flight{query: q}
	s.flights = append(s.flights, f)
	s.schedule.claim(q, 1)
	return f
}

// join adds a flight for days that another flight has claimed: the second query of a
// trial.
func (s *Source) join(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights = append(s.flights, f)
}

// leave removes a flight.
func (s *Source) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights = slices.DeleteFunc(s.flights, func(other *flight) bool { return other == f })
}

// fly carries out a query and stores its events. Nothing is stored of an answer
// that is not whole.
func (s *Source) fly(ctx context.Context, f *flight, store Store) error {
	tries, whole := s.tries(f.query), lateCount{since: s.trialSince(f.query.From)}
	var count func([]byte)
	if tries {
		count = whole.add
	}
	d, err := s.download(ctx, f, count)
	if err == nil {
		err = s.store(ctx, d, store)
		var damaged *damagedError
		if errors.As(err, &damaged) {
			err = errors.Join(err, d.Remove())
		}
	}
	if err == nil && tries {
		err = s.try(ctx, f, whole, store)
	}
	if s.refuses(f.query, err) {
		err = nil // the days are pulled whole
	}
	s.settle(ctx, f, err)
	if err != nil {
		return fmt.Errorf("pull %s: %w", f.query, err)
	}
	return nil
}

// The pauses before a day that failed is pulled again.
const (
	firstHold = 30 * time.Second
	lastHold  = time.Hour
)

// settle ends a flight. Days that failed are pulled again later, and one by one; a
// refusal because of a limit is not their fault.
func (s *Source) settle(ctx context.Context, f *flight, err error) {
	s.leave(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.claim(f.query, -1)
	if ctx.Err() != nil {
		return
	}
	s.err = err
	for d := f.query.From; d <= f.query.To; d++ {
		if err == nil {
			delete(s.failures, d)
			delete(s.schedule.held, d)
			continue
		}
		if KindOf(err) == TooMany {
			continue
		}
		s.failures[d]++
		s.schedule.held[d] = s.o.Now().Add(min(firstHold<<min(s.failures[d]-1, 10), lastHold))
	}
}

// isFlying reports whether a file belongs to a query that is under way.
func (s *Source) isFlying(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.flights, func(f *flight) bool { return f.file != "" && strings.HasPrefix(name, f.file+".") })
}

// InFlight describes the queries that are under way at an instant.
type InFlight struct {
	Queries []Query // by date
	Bytes   int64   // of their lines, so far
}

// inFlight describes the flights. The caller holds mu.
func (s *Source) inFlight() (now InFlight) {
	for _, f := range s.flights {
		now.Queries = append(now.Queries, f.query)
		now.Bytes += f.bytes
	}
	slices.SortFunc(now.Queries, func(a, b Query) int { return cmp.Compare(a.From, b.From) })
	return now
}

func (i InFlight) String() string {
	var texts []string
	for _, q := range i.Queries {
		texts = append(texts, q.String())
	}
	return strings.Join(texts, ", ")
}
