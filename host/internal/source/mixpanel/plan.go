package mixpanel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Query is a query for the events of some days, both included.
type Query struct {
	From, To journal.Day
	Why      Class
	// Since, if not 0, asks for events only that Mixpanel has processed since then, in
	// unix milliseconds.
	Since int64
}

// Days is how many days a query asks for.
func (q Query) Days() int { return int(q.To-q.From) + 1 }

// Class is why days are pulled. Lower classes come first.
type Class int

// The classes.
const (
	Recent    Class = iota // a day of the lookback that was never pulled after its end
	Today                  // the day that has not ended
	Again                  // a day of the lookback, for late events
	Backlog                // an older day that was never pulled after its end
	Requested              // a person asked for it
)

var classNames = [...]string{Recent: "recent", Today: "today", Again: "again", Backlog: "backlog", Requested: "requested"}

func (c Class) String() string { return classNames[c] }

const (
	// settle is how long after its end a day is pulled: Mixpanel needs about 45
	// minutes until everything that arrived is exported.
	settle = time.Hour
	// todayEvery is how often the day that has not ended is pulled.
	todayEvery = time.Hour
	// querySize is about how many bytes a query for several days brings at most.
	querySize = 256 << 20
	// queryDays is the most days of a query.
	queryDays = 31
)

// dayState is the cursor of a day that was pulled.
type dayState struct {
	Pulled int64 `json:"pulled"`         // when the query was sent, in unix milliseconds
	Bytes  int64 `json:"bytes"`          // of the lines of the last whole pull; of a query for several days, its share
	Millis int64 `json:"millis"`         // how long downloading and storing took; likewise
	Seen   int64 `json:"seen,omitempty"` // when the answer of the last query began, by the server's clock; 0: unknown
}

// schedule says which days are pulled next. A day is
//
//	never pulled, or pulled before it ended and settled   Recent, Backlog
//	not ended                                              Today, hourly
//	in the lookback, and last pulled on an earlier date    Again, once a day
//	otherwise                                              done
//
// so that yesterday comes before half a year ago. Neighbouring days of a class
// share a query while their bytes are few.
type schedule struct {
	from     journal.Day
	lookback int // days
	zone     *time.Location
	days     map[journal.Day]dayState
	held     map[journal.Day]time.Time // not before: the day failed
	claimed  map[journal.Day]int       // queries for the day that are under way
	trial    trial                     // of the selector for late events
	share    int64                     // bytes that days of a query have together, at most
}

func (s *schedule) clone() *schedule {
	c := *s
	c.days, c.held, c.claimed = maps.Clone(s.days), maps.Clone(s.held), map[journal.Day]int{}
	return &c
}

// claim adds n to the number of queries that are under way for each day of q. Days
// with such queries are not due.
func (s *schedule) claim(q Query, n int) {
	for d := q.From; d <= q.To; d++ {
		if s.claimed[d] += n; s.claimed[d] == 0 {
			delete(s.claimed, d)
		}
	}
}

// today is the date of an instant where the project has its dates.
func (s *schedule) today(now time.Time) journal.Day {
	y, m, d := now.In(s.zone).Date()
	return journal.DayOf(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix())
}

// begins returns when a day begins.
func (s *schedule) begins(d journal.Day) time.Time {
	y, m, n := d.Time().Date()
	return time.Date(y, m, n, 0, 0, 0, 0, s.zone)
}

// due returns when a day is to be pulled next, and why; ok is false if it is not.
func (s *schedule) due(d, today journal.Day) (why Class, at time.Time, ok bool) {
	if s.claimed[d] > 0 {
		return 0, time.Time{}, false
	}
	state, known := s.days[d]
	pulled := time.UnixMilli(state.Pulled)
	recent := d >= today-journal.Day(s.lookback) || d == today-1
	switch settled := s.begins(d + 1).Add(settle); {
	case d == today:
		why, at = Today, s.begins(d).Add(todayEvery)
		if next := pulled.Add(todayEvery); known && next.After(at) {
			at = next
		}
	case !known && recent:
		why = Recent
	case !known:
		why = Backlog
	case pulled.Before(settled):
		why, at = Recent, settled
	case d >= today-journal.Day(s.lookback) && pulled.Before(s.begins(today).Add(settle)):
		why, at = Again, s.begins(today).Add(settle)
	default:
		return 0, time.Time{}, false
	}
	if held := s.held[d]; held.After(at) {
		at = held
	}
	return why, at, true
}

// next returns the query that comes next, and when; ok is false if none is known.
func (s *schedule) next(now time.Time) (q Query, at time.Time, ok bool) {
	today := s.today(now)
	var best journal.Day
	for d := today; d >= s.from; d-- {
		why, due, pending := s.due(d, today)
		if !pending {
			continue
		}
		if due.Before(now) {
			due = now
		}
		if !ok || due.Before(at) || due.Equal(at) && why < q.Why {
			q, at, ok, best = Query{From: d, To: d, Why: why, Since: s.since(d, why, today)}, due, true, d
		}
	}
	if !ok {
		// Tomorrow's day.
		d := max(s.from, today+1)
		return Query{From: d, To: d, Why: Today}, s.begins(d).Add(todayEvery), false
	}
	if !at.After(now) {
		s.extend(&q, best, today, now)
	}
	return q, at, true
}

// leaves reports whether a day is the last one of the lookback.
func (s *schedule) leaves(d, today journal.Day) bool { return d == today-journal.Day(s.lookback) }

// since returns since when the events of a day are to have been processed; 0: the
// whole day is pulled.
func (s *schedule) since(d journal.Day, why Class, today journal.Day) int64 {
	if why != Again || !s.trial.trusted() || s.leaves(d, today) || s.days[d].Seen == 0 {
		return 0
	}
	return s.days[d].Seen - lateMargin.Milliseconds()
}

// extend adds earlier days to a query for d, as long as they are of its class and
// the bytes are few. The day that leaves the lookback, of which late events are
// compared with the whole day, is alone when that is due.
func (s *schedule) extend(q *Query, d, today journal.Day, now time.Time) {
	size, ok := s.size(d)
	if !ok || q.Why == Today || !s.held[d].IsZero() {
		return
	}
	if q.Since != 0 {
		size = 0
	}
	for total := size; q.From > s.from && d-q.From < queryDays-1; q.From-- {
		other := q.From - 1
		why, at, pending := s.due(other, today)
		since := s.since(other, why, today)
		if !pending || why != q.Why || at.After(now) || !s.held[other].IsZero() || (since == 0) != (q.Since == 0) {
			break
		}
		if why == Again && s.leaves(other, today) && s.trial.due(now) {
			break
		}
		if since == 0 {
			size, _ := s.size(other)
			total += size
		}
		if total > s.share {
			break
		}
		q.Since = min(q.Since, since)
	}
}

// average returns the mean size of the days that were pulled after their end; ok is
// false if there is none.
func (s *schedule) average() (bytes int64, ok bool) {
	var n, sum int64
	for d, state := range s.days {
		if state.Pulled >= s.begins(d+1).UnixMilli() {
			n, sum = n+1, sum+state.Bytes
		}
	}
	if n == 0 {
		return 0, false
	}
	return sum / n, true
}

// size is about how many bytes a day has; ok is false if no day is known.
func (s *schedule) size(d journal.Day) (bytes int64, ok bool) {
	if state, known := s.days[d]; known && state.Pulled >= s.begins(d+1).UnixMilli() {
		return state.Bytes, true
	}
	return s.average()
}

// guess is how long a day takes while none is known.
const guess = 5 * time.Second

// paceQueries is of how many queries the pace is the mean: the first ones, which are
// under way alone, are soon not among them.
const paceQueries = 2 * parallel

// pace returns about how long a day takes, by the latest queries.
func (s *schedule) pace() time.Duration {
	var states []dayState
	for d, state := range s.days {
		if state.Pulled >= s.begins(d+1).UnixMilli() {
			states = append(states, state)
		}
	}
	if len(states) == 0 {
		return guess
	}
	slices.SortFunc(states, func(a, b dayState) int { return cmp.Compare(b.Pulled, a.Pulled) })
	var sum, days int64
	for i, queries := 0, 0; i < len(states); i++ {
		if i == 0 || states[i].Pulled != states[i-1].Pulled {
			queries++
		}
		if queries > paceQueries {
			break
		}
		sum, days = sum+states[i].Millis, days+1
	}
	return time.Duration(sum/days) * time.Millisecond
}

// done notes that a query was carried out.
func (s *schedule) done(q Query, state dayState) {
	for d := q.From; d <= q.To; d++ {
		s.days[d] = state
		delete(s.held, d)
	}
}

// missing counts the days before today that were never pulled after their end.
func (s *schedule) missing(now time.Time) (days int) {
	today := s.today(now)
	for d := s.from; d < today; d++ {
		if state, known := s.days[d]; !known || state.Pulled < s.begins(d+1).UnixMilli() {
			days++
		}
	}
	return days
}

// Forecast describes the way to a state in which no day is missing.
type Forecast struct {
	Days    int       // that are missing before today
	Queries int       // for them, those for other days in between included
	At      time.Time // when no day is missing; zero: it is too far away
}

// maxForecast bounds the queries that a forecast looks at.
const maxForecast = 20_000

// forecast simulates the schedule from now on, with the budget and the pace that are
// known, until no day is missing. budget is a copy, whose queries it takes.
func (s *schedule) forecast(now time.Time, budget *window) Forecast {
	f := Forecast{Days: s.missing(now)}
	plan, at, pace := s.clone(), now, s.pace()
	bytes, _ := s.average()
	for plan.missing(at) > 0 {
		q, due, ok := plan.next(at)
		if !ok || f.Queries == maxForecast {
			return f
		}
		if due.After(at) {
			at = due
			continue
		}
		at = budget.next(at)
		budget.use(at)
		sent := at
		at = at.Add(pace * time.Duration(q.Days()))
		plan.done(q, dayState{Pulled: sent.UnixMilli(), Bytes: bytes})
		f.Queries++
	}
	f.At = at
	return f
}
