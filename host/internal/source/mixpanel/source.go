package mixpanel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Options configure a Source.
type Options struct {
	Name     string // "mixpanel.pull"; names the source in cursors
	Dir      string // of spools, of this source alone; it is there before anything is pulled
	Client   *Client
	Export   *Budget
	Profiles *Budget
	From     journal.Day   // first day to pull
	Lookback time.Duration // how far back days are pulled again; whole days
	Zone     *time.Location
	Now      func() time.Time
	// Progress is told how many bytes of a query were downloaded; may be nil.
	Progress func(q Query, bytes int64)
	// Cursors are the source's cursors, as the catalog holds them.
	Cursors map[string][]byte
	// Reload returns the cursors again after rows could not be stored: a seal that
	// reported an error, or was not waited for, may have moved them. It returns only
	// when no seal that may move them is under way.
	Reload func(context.Context) (map[string][]byte, error)
}

// Store makes the rows of a download durable, together with the cursors of its last
// piece. It reads the pieces to their end.
type Store func(ctx context.Context, d *Download, pieces ingest.Source) error

// Source pulls one project. Its methods may be called concurrently; queries of one
// source for events are carried out one after the other, and so are those for
// profiles.
type Source struct {
	o    Options
	turn chan struct{} // held while a query for events is carried out
	full chan struct{} // held while profiles are read

	mu       sync.Mutex
	schedule schedule
	cursors  map[string][]byte
	// A move of cursors of days, or of the one of profiles, failed: the catalog may
	// have other ones.
	staleDays, staleProfiles bool

	failures map[journal.Day]int // in a row
	running  *Query
	fetched  int64
	err      error
	profiles profilesState
}

// profilesPosition is the position of the cursor of profiles.
const profilesPosition = "profiles"

// profilesState is the cursor of profiles.
type profilesState struct {
	Began int64 `json:"began"` // unix milliseconds
	Total int64 `json:"total"`
}

// Open opens a source. It asks Mixpanel nothing, and makes and changes no file.
func Open(o Options) (*Source, error) {
	s := &Source{
		o: o, turn: make(chan struct{}, 1), full: make(chan struct{}, 1), cursors: map[string][]byte{}, failures: map[journal.Day]int{},
		schedule: schedule{
			from: o.From, lookback: int((o.Lookback + 24*time.Hour - 1) / (24 * time.Hour)), zone: o.Zone,
			days: map[journal.Day]dayState{}, held: map[journal.Day]time.Time{},
		},
	}
	for position, value := range o.Cursors {
		if err := s.learn(position, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// refresh reads cursors again if stale, which mu guards, says that a move of them
// failed. The caller holds the turn that moves the cursors that of picks.
func (s *Source) refresh(ctx context.Context, stale *bool, of func(position string) bool) error {
	s.mu.Lock()
	fresh := !*stale
	s.mu.Unlock()
	if fresh {
		return nil
	}
	cursors, err := s.o.Reload(ctx)
	if err != nil {
		return fmt.Errorf("read cursors again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for position, value := range cursors {
		if of(position) {
			if err := s.learn(position, value); err != nil {
				return err
			}
		}
	}
	*stale = false
	return nil
}

// distrust makes the next refresh read cursors again.
func (s *Source) distrust(stale *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*stale = true
}

// learn takes over a cursor of the catalog. The caller holds mu, or has the source
// for itself.
func (s *Source) learn(position string, value []byte) error {
	if err := s.decode(position, value); err != nil {
		return fmt.Errorf("the cursor of %s at %s cannot be read: %w", s.o.Name, position, err)
	}
	s.cursors[position] = value
	return nil
}

func (s *Source) decode(position string, value []byte) error {
	if position == profilesPosition {
		return json.Unmarshal(value, &s.profiles)
	}
	d, err := journal.ParseDay(position)
	if err != nil {
		return err
	}
	var state dayState
	if err := json.Unmarshal(value, &state); err != nil {
		return err
	}
	s.schedule.days[d] = state
	return nil
}

// Next returns the query that comes next, and when it is due; ok is false if no day
// is waited for but the next one.
func (s *Source) Next() (q Query, at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schedule.next(s.o.Now())
}

// Split returns the queries for days that a person asks for, the latest first.
func (s *Source) Split(from, to journal.Day) []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queries []Query
	for to >= from {
		q := Query{to, to, Requested}
		total, ok := s.schedule.size(to)
		for ok && q.From > from && q.Days() < queryDays {
			size, _ := s.schedule.size(q.From - 1)
			if total += size; total > querySize {
				break
			}
			q.From--
		}
		queries = append(queries, q)
		to = q.From - 1
	}
	return queries
}

// Resume stores the downloads that an earlier process, or a Pull that could not
// store its events, has left.
func (s *Source) Resume(ctx context.Context, store Store) error {
	leave, err := enter(ctx, s.turn)
	if err != nil {
		return err
	}
	defer leave()
	left, err := leftovers(s.o.Dir)
	if err != nil {
		return fmt.Errorf("look for downloads: %w", err)
	}
	for _, d := range left {
		err := s.store(ctx, d, store)
		var damaged *damagedError
		if errors.As(err, &damaged) {
			err = d.Remove()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter takes a turn, and returns a function that gives it back.
func enter(ctx context.Context, turn chan struct{}) (leave func(), err error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Pull waits for the budget, carries out a query and stores its events. Nothing is
// stored of an answer that is not whole.
func (s *Source) Pull(ctx context.Context, q Query, store Store) error {
	leave, err := enter(ctx, s.turn)
	if err != nil {
		return err
	}
	defer leave()
	d, err := s.download(ctx, q, nil)
	if err == nil {
		err = s.store(ctx, d, store)
		var damaged *damagedError
		if errors.As(err, &damaged) {
			err = errors.Join(err, d.Remove())
		}
	}
	s.settle(ctx, q, err)
	if err != nil {
		return fmt.Errorf("pull %s: %w", q, err)
	}
	return nil
}

func (q Query) String() string {
	if q.From == q.To {
		return q.From.String()
	}
	return fmt.Sprintf("%s to %s", q.From, q.To)
}

// download waits for the budget and brings the answer to a query into a file.
func (s *Source) download(ctx context.Context, q Query, line func([]byte)) (*Download, error) {
	release, err := s.o.Export.Acquire(ctx, false)
	if err != nil {
		return nil, err
	}
	defer release()
	s.begin(q)
	d := &Download{Query: q, Asked: s.o.Now()}
	answer, err := s.o.Client.Export(ctx, q.From, q.To)
	if err == nil {
		err = s.o.Client.redacted(spool(s.o.Dir, d, answer, func(n int64) { s.progress(q, n) }, line))
		answer.Close()
	}
	return d, errors.Join(err, s.o.Export.Settle(ctx, err))
}

func (s *Source) begin(q Query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.fetched = &q, 0
}

func (s *Source) progress(q Query, n int64) {
	s.mu.Lock()
	s.fetched = n
	s.mu.Unlock()
	if s.o.Progress != nil {
		s.o.Progress(q, n)
	}
}

// store hands a download on and removes it.
func (s *Source) store(ctx context.Context, d *Download, store Store) error {
	if err := s.refresh(ctx, &s.staleDays, IsDay); err != nil {
		return err
	}
	var moves []journal.CursorMove
	p, err := d.read(func() []journal.CursorMove {
		moves = s.moves(d)
		return moves
	})
	if err != nil {
		return err
	}
	if err := errors.Join(store(ctx, d, p), p.Close()); err != nil {
		s.distrust(&s.staleDays)
		return err
	}
	s.stored(d, moves)
	crashpoint.Here("pull.stored")
	return d.Remove()
}

// moves are the moves of the cursors of a download's days. A later pull of a day
// is not undone by the download of an earlier one.
func (s *Source) moves(d *Download) []journal.CursorMove {
	s.mu.Lock()
	defer s.mu.Unlock()
	days := int64(d.Days())
	state := dayState{Pulled: d.Asked.UnixMilli(), Bytes: d.Bytes / days, Millis: s.o.Now().Sub(d.Asked).Milliseconds() / days, Days: d.Days()}
	var moves []journal.CursorMove
	for day := d.From; day <= d.To; day++ {
		before := s.cursors[day.String()]
		next := state
		if known, ok := s.schedule.days[day]; ok && known.Pulled > state.Pulled {
			next = known
		}
		value, err := json.Marshal(next)
		if err != nil {
			panic("mixpanel: a cursor cannot be encoded: " + err.Error())
		}
		moves = append(moves, journal.CursorMove{Source: s.o.Name, Position: day.String(), From: before, To: value})
	}
	return moves
}

// stored notes cursors that are durable.
func (s *Source) stored(d *Download, moves []journal.CursorMove) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range moves {
		var state dayState
		// The value was encoded above.
		if json.Unmarshal(m.To, &state) == nil {
			s.schedule.days[d.From+journal.Day(i)] = state
		}
		delete(s.failures, d.From+journal.Day(i))
		delete(s.schedule.held, d.From+journal.Day(i))
		s.cursors[m.Position] = m.To
	}
}

// The pauses before a day that failed is pulled again.
const (
	firstHold = 30 * time.Second
	lastHold  = time.Hour
)

// settle notes the result of a query. Days that failed are pulled again later, and
// one by one; a refusal because of a limit is not their fault.
func (s *Source) settle(ctx context.Context, q Query, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	if ctx.Err() != nil {
		return
	}
	s.err = err
	for d := q.From; d <= q.To; d++ {
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

// Failing reports whether the last query for some day failed.
func (s *Source) Failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failures) > 0
}

// DayCount is how many events a day has.
type DayCount struct {
	Day    string `json:"day"`
	Events int64  `json:"events"`
	Bytes  int64  `json:"bytes"`
}

// Check tries the credentials with one query for some days, which counts against
// the budget, and counts the events of each. It stores nothing.
func (s *Source) Check(ctx context.Context, from, to journal.Day, times schema.Times) ([]DayCount, error) {
	leave, err := enter(ctx, s.turn)
	if err != nil {
		return nil, err
	}
	defer leave()
	counts := make([]DayCount, to-from+1)
	for i := range counts {
		counts[i].Day = (from + journal.Day(i)).String()
	}
	parser := schema.NewZoneParser(s.o.Now, times)
	var row []byte
	q := Query{from, to, Requested}
	d, err := s.download(ctx, q, func(line []byte) {
		var e schema.Event
		if row, e, err = parser.AppendEvent(row[:0], line); err != nil {
			return
		}
		// Dates are those of the project where its times are.
		day := s.schedule.today(time.Unix(e.Time, 0))
		if day >= from && day <= to {
			counts[day-from].Events++
			counts[day-from].Bytes += int64(len(line)) + 1
		}
	})
	s.settle(ctx, q, err)
	if err != nil {
		return nil, err
	}
	return counts, d.Remove()
}

// Status describes a source at an instant.
type Status struct {
	From, Today journal.Day
	Done        int    // days before today that were pulled after their end
	InFlight    *Query // nil: none
	Fetched     int64  // bytes of it
	Next        Query
	NextAt      time.Time // when the next query is sent, the budget included
	Waits       bool      // it is due, and waits for the budget
	Left        int       // queries of this hour
	Forecast    Forecast
	Err         error // of the last query
	ProfilesAt  time.Time
	Profiles    int64
}

// Status describes the source. It asks Mixpanel nothing.
func (s *Source) Status() Status {
	now := s.o.Now()
	budget := s.o.Export.simulate(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{From: s.schedule.from, Today: s.schedule.today(now), InFlight: s.running, Fetched: s.fetched, Err: s.err, Left: budget.left(now)}
	var due bool
	status.Next, status.NextAt, due = s.schedule.next(now)
	if at := budget.next(now); due && at.After(status.NextAt) {
		status.Waits, status.NextAt = true, at
	}
	status.Done = max(0, int(status.Today-status.From)) - s.schedule.missing(now)
	status.Forecast = s.schedule.forecast(now, budget)
	if s.profiles.Began != 0 {
		status.ProfilesAt, status.Profiles = time.UnixMilli(s.profiles.Began), s.profiles.Total
	}
	return status
}

// IsDay reports whether a cursor's position is a day.
func IsDay(position string) bool { return !strings.EqualFold(position, profilesPosition) }
