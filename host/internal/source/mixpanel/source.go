package mixpanel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// Source pulls one project. Its methods may be called concurrently. Downloads of
// events are stored one after the other, and profiles are read one set after the
// other.
type Source struct {
	o       Options
	storing chan struct{} // held while a download is stored
	full    chan struct{} // held while profiles are read
	retired chan struct{} // closed by Retire

	mu       sync.Mutex
	client   *Client // that queries are begun with
	schedule schedule
	cursors  map[string][]byte
	// A move of cursors of days, or of the one of profiles, failed: the catalog may
	// have other ones.
	staleDays, staleProfiles bool

	failures map[journal.Day]int // in a row
	flights  []*flight
	asked    time.Time // of the latest query, in whole milliseconds
	ended    time.Time // when a download was stored last
	err      error     // of the last query
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
		o: o, client: o.Client, storing: make(chan struct{}, 1), full: make(chan struct{}, 1), retired: make(chan struct{}), cursors: map[string][]byte{}, failures: map[journal.Day]int{},
		schedule: schedule{
			from: o.From, lookback: lookbackDays(o.Lookback), zone: o.Zone,
			days: map[journal.Day]dayState{}, held: map[journal.Day]time.Time{}, claimed: map[journal.Day]int{}, share: querySize,
		},
	}
	for position, value := range o.Cursors {
		if err := s.learn(position, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// lookbackDays returns the whole days of a lookback.
func lookbackDays(d time.Duration) int { return int((d + 24*time.Hour - 1) / (24 * time.Hour)) }

// Change has the next queries asked with a client, and days planned from a first one and
// with a lookback. Queries that are under way end as they began.
func (s *Source) Change(client *Client, from journal.Day, lookback time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.schedule.from, s.schedule.lookback = client, from, lookbackDays(lookback)
}

// Retire has PullDue and PullDays begin no further query and return once those under way
// have ended. It is called once.
func (s *Source) Retire() { close(s.retired) }

// Retired is closed when Retire was called.
func (s *Source) Retired() <-chan struct{} { return s.retired }

func (s *Source) isRetired() bool {
	select {
	case <-s.retired:
		return true
	default:
		return false
	}
}

// asker returns the client for the next query.
func (s *Source) asker() *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
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
	switch position {
	case profilesPosition:
		return json.Unmarshal(value, &s.profiles)
	case trialPosition:
		return json.Unmarshal(value, &s.schedule.trial)
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

// latest returns a query for the latest of the days that a person asks for, as many of
// them as share one. A day whose last query failed is alone, as in the schedule.
func (s *Source) latest(from, to journal.Day) Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := Query{From: to, To: to, Why: Requested}
	total, ok := s.schedule.size(to)
	failed := func(d journal.Day) bool { return !s.schedule.held[d].IsZero() }
	for ok && !failed(to) && q.From > from && q.Days() < queryDays && !failed(q.From-1) {
		size, _ := s.schedule.size(q.From - 1)
		if total += size; total > s.schedule.share {
			break
		}
		q.From--
	}
	return q
}

// Resume stores the downloads that an earlier process, or a query whose events
// could not be stored, has left.
func (s *Source) Resume(ctx context.Context, store Store) error {
	left, err := leftovers(s.o.Dir, s.isFlying)
	if err != nil {
		return fmt.Errorf("look for downloads: %w", err)
	}
	for _, d := range left {
		d.began = s.o.Now()
		err := s.store(ctx, d, store)
		var damaged *damagedError
		switch {
		case errors.As(err, &damaged):
			err = d.Remove()
		case errors.Is(err, fs.ErrNotExist) && d.isGone(): // its query has just ended
			err = nil
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

func (q Query) String() string {
	text := q.From.String()
	if q.From != q.To {
		text += " to " + q.To.String()
	}
	if q.Since != 0 {
		text += ", late events"
	}
	return text
}

// download waits for the budget and brings the answer to a query into a file.
func (s *Source) download(ctx context.Context, f *flight, line func([]byte)) (*Download, error) {
	release, err := s.o.Export.Acquire(ctx, false)
	if err != nil {
		return nil, err
	}
	defer release()
	d, client := s.send(f), s.asker()
	answer, err := client.Export(ctx, d.Query)
	if err == nil {
		d.seen = answer.At
		err = client.redacted(spool(s.o.Dir, d, answer, func(n int64) { s.progress(f, n) }, line))
		answer.Close()
	}
	return d, errors.Join(err, s.o.Export.Settle(ctx, err))
}

// send notes when a query is sent. No two queries of a source are sent in the same
// millisecond, so that their files differ.
func (s *Source) send(f *flight) *Download {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.o.Now().Truncate(time.Millisecond)
	if !at.After(s.asked) && s.asked.Sub(at) < time.Second { // and not a clock that was set back
		at = s.asked.Add(time.Millisecond)
	}
	s.asked = at
	d := &Download{Query: f.query, Asked: at, began: at}
	f.file = d.name()
	return d
}

func (s *Source) progress(f *flight, n int64) {
	s.mu.Lock()
	f.bytes = n
	s.mu.Unlock()
	if s.o.Progress != nil {
		s.o.Progress(f.query, n)
	}
}

// store hands a download on and removes it.
func (s *Source) store(ctx context.Context, d *Download, store Store) error {
	leave, err := enter(ctx, s.storing)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.refresh(ctx, &s.staleDays, isOfEvents); err != nil {
		return err
	}
	var moves []journal.CursorMove
	p, err := d.read(func(bytes int64) []journal.CursorMove {
		d.Bytes = bytes
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
	// While several queries are under way, the time since the one before was stored
	// is the share of this one.
	began := d.began
	if s.ended.After(began) {
		began = s.ended
	}
	state := dayState{Pulled: d.Asked.UnixMilli(), Bytes: d.Bytes / days, Millis: s.o.Now().Sub(began).Milliseconds() / days}
	if !d.seen.IsZero() {
		state.Seen = d.seen.UnixMilli()
	}
	var moves []journal.CursorMove
	for day := d.From; day <= d.To; day++ {
		next, known := state, s.schedule.days[day]
		if d.Since != 0 { // sizes are those of whole days
			next.Bytes, next.Millis = known.Bytes, known.Millis
		}
		if known.Pulled > state.Pulled {
			next = known
		}
		moves = append(moves, s.move(day.String(), next))
	}
	if d.trial != nil {
		moves = append(moves, s.move(trialPosition, d.trial))
	}
	return moves
}

// move is the move of a cursor. The caller holds mu.
func (s *Source) move(position string, to any) journal.CursorMove {
	value, err := json.Marshal(to)
	if err != nil {
		panic("mixpanel: a cursor cannot be encoded: " + err.Error())
	}
	return journal.CursorMove{Source: s.o.Name, Position: position, From: s.cursors[position], To: value}
}

// stored notes cursors that are durable.
func (s *Source) stored(d *Download, moves []journal.CursorMove) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = s.o.Now()
	for _, m := range moves {
		// The value was encoded above.
		_ = s.learn(m.Position, m.To)
	}
	for day := d.From; day <= d.To; day++ {
		delete(s.failures, day)
		delete(s.schedule.held, day)
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
	counts := make([]DayCount, to-from+1)
	for i := range counts {
		counts[i].Day = (from + journal.Day(i)).String()
	}
	parser := schema.NewZoneParser(s.o.Now, times)
	var row []byte
	f := s.begin(Query{From: from, To: to, Why: Requested})
	d, err := s.download(ctx, f, func(line []byte) {
		var e schema.Event
		var err error
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
	// While the query is under way, Resume leaves its file alone.
	if err == nil {
		err = d.Remove()
	}
	s.settle(ctx, f, err)
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// moment is how long a query may wait for the limit per second.
const moment = 2 * time.Second

// Status describes a source at an instant.
type Status struct {
	From, Today journal.Day
	Done        int // days before today that were pulled after their end
	InFlight    InFlight
	Next        Query
	NextAt      time.Time // when the next query is sent, the budget included
	Waits       bool      // it is due, and waits for the budget
	Left        int       // queries of this hour
	Forecast    Forecast
	Late        Late
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
	status := Status{From: s.schedule.from, Today: s.schedule.today(now), InFlight: s.inFlight(), Late: s.schedule.trial.late(), Err: s.err, Left: budget.left(now)}
	var due bool
	status.Next, status.NextAt, due = s.schedule.next(now)
	if at := budget.next(now); due && at.After(status.NextAt) {
		status.Waits, status.NextAt = at.Sub(now) > moment, at
	}
	status.Done = max(0, int(status.Today-status.From)) - s.schedule.missing(now)
	status.Forecast = s.schedule.forecast(now, budget)
	if s.profiles.Began != 0 {
		status.ProfilesAt, status.Profiles = time.UnixMilli(s.profiles.Began), s.profiles.Total
	}
	return status
}

// isOfEvents reports whether a cursor's position is a day, or of trials.
func isOfEvents(position string) bool { return position != profilesPosition }
