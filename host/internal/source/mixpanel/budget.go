package mixpanel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/private"
)

// Limits bound the queries of one API. Zero: no limit.
type Limits struct{ PerHour, PerSecond, Concurrent int }

// window is the part of a budget that time gives back: the queries of the last
// hour.
type window struct {
	limits  Limits
	recent  []time.Time // ascending
	blocked time.Time   // no query before
}

// A server counts a query when it arrives: of two queries the first may be under
// way for longer. The margins are added to the time between them.
const (
	secondMargin = 500 * time.Millisecond
	hourMargin   = 5 * time.Second
)

// next returns when a query may be sent, at now or later.
func (w *window) next(now time.Time) time.Time {
	at := now
	if w.blocked.After(at) {
		at = w.blocked
	}
	for _, l := range []struct {
		queries int
		span    time.Duration
	}{{w.limits.PerHour, time.Hour + hourMargin}, {w.limits.PerSecond, time.Second + secondMargin}} {
		if n := len(w.recent); l.queries > 0 && n >= l.queries {
			if free := w.recent[n-l.queries].Add(l.span); free.After(at) {
				at = free
			}
		}
	}
	return at
}

// use takes a query.
func (w *window) use(at time.Time) {
	w.recent = append(slices.DeleteFunc(w.recent, func(t time.Time) bool { return at.Sub(t) > time.Hour+hourMargin }), at)
}

// correct moves times that lie ahead of the clock, which was set back, to now.
func (w *window) correct(now time.Time) {
	for i, t := range w.recent {
		if t.After(now) {
			w.recent[i] = now
		}
	}
	if limit := now.Add(maxBlock); w.blocked.After(limit) {
		w.blocked = limit
	}
}

// left returns how many queries may be sent at now.
func (w *window) left(now time.Time) int {
	n := 0
	for _, t := range w.recent {
		if now.Sub(t) < time.Hour {
			n++
		}
	}
	return max(0, w.limits.PerHour-n)
}

func (w *window) clone() *window {
	c := *w
	c.recent = slices.Clone(w.recent)
	return &c
}

// The pauses after a refusal that does not say how long to wait.
const (
	firstBlock = time.Minute
	lastBlock  = time.Hour
)

// maxBlock is the longest pause that is believed: a server, or a clock that was
// wrong, cannot stop a source for longer.
const maxBlock = 2 * time.Hour

// Budget is the budget of queries of one API of a Mixpanel project. All sources of
// the project share it, and a file keeps it over restarts: a query is noted before
// it is sent. It may be used concurrently.
type Budget struct {
	path string
	now  func() time.Time
	wait func(context.Context, time.Duration) error

	turn    chan struct{} // held while a query waits
	writing chan struct{} // held while the file is written

	mu       sync.Mutex
	running  chan struct{} // one for each query that is under way; nil: no limit
	window   window
	refusals int // in a row
}

// BudgetOptions configure a Budget.
type BudgetOptions struct {
	Path   string // of its file
	Limits Limits
	Now    func() time.Time
	// Wait waits for a time, or until ctx is done, and returns its cause then.
	Wait func(ctx context.Context, d time.Duration) error
}

// kept is the content of a budget's file.
type kept struct {
	Recent  []int64 `json:"recent"` // unix milliseconds
	Blocked int64   `json:"blocked,omitempty"`
}

// OpenBudget opens a budget. A file that cannot be read as one is replaced: the
// server's own refusals are then honoured.
func OpenBudget(o BudgetOptions) (*Budget, error) {
	b := &Budget{path: o.Path, now: o.Now, wait: o.Wait, turn: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
	b.SetLimits(o.Limits)
	data, err := os.ReadFile(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read budget: %w", err)
	}
	var k kept
	if json.Unmarshal(data, &k) == nil {
		for _, ms := range k.Recent {
			b.window.recent = append(b.window.recent, time.UnixMilli(ms))
		}
		if k.Blocked > 0 {
			b.window.blocked = time.UnixMilli(k.Blocked)
		}
		slices.SortFunc(b.window.recent, time.Time.Compare)
	}
	return b, nil
}

// SetLimits replaces the limits for queries that are not sent yet. Of a changed
// Concurrent, queries under way do not count against the new one.
func (b *Budget) SetLimits(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.Concurrent != b.window.limits.Concurrent {
		b.running = nil
		if l.Concurrent > 0 {
			b.running = make(chan struct{}, l.Concurrent)
		}
	}
	b.window.limits = l
}

// places returns the places of queries that are under way; nil: there is no limit.
func (b *Budget) places() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running
}

// Acquire waits until a query may be sent, and notes it. free says that the API
// does not count it. The caller calls release when the answer was read.
func (b *Budget) Acquire(ctx context.Context, free bool) (release func(), err error) {
	release = func() {}
	if running := b.places(); running != nil {
		select {
		case running <- struct{}{}:
			release = func() { <-running }
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err := b.take(ctx, free); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// take waits for a query's turn, and notes it.
func (b *Budget) take(ctx context.Context, free bool) error {
	leave, err := enter(ctx, b.turn)
	if err != nil {
		return err
	}
	defer leave()
	for {
		now := b.now()
		at := b.Next(now)
		if free {
			at = b.blockedUntil(now)
		}
		if !at.After(now) {
			break
		}
		if err := b.wait(ctx, at.Sub(now)); err != nil {
			return err
		}
	}
	if free {
		return nil
	}
	b.mu.Lock()
	b.window.use(b.now())
	b.mu.Unlock()
	return b.save(ctx)
}

// Next returns when the next query may be sent, at now or later.
func (b *Budget) Next(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.correct(now)
	return b.window.next(now)
}

func (b *Budget) blockedUntil(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.correct(now)
	return b.window.blocked
}

// simulate returns a copy of the window.
func (b *Budget) simulate(now time.Time) *window {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window.correct(now)
	return b.window.clone()
}

// Settle takes note of the result of a query: after a refusal no query is sent for
// as long as the server says, or for a pause that doubles with each refusal in a
// row, up to an hour. A query that waits already waits for that, too.
func (b *Budget) Settle(ctx context.Context, err error) error {
	if !b.block(err) {
		return nil
	}
	return b.save(ctx)
}

// block notes a result, and reports whether it stops queries for a while.
func (b *Budget) block(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.refusals = 0
	}
	var e *Error
	if !Blocks(err) || !errors.As(err, &e) {
		return false
	}
	if until := b.now().Add(b.pause(e)); until.After(b.window.blocked) {
		b.window.blocked = until
	}
	return true
}

// pause returns how long no query is sent after a refusal. The caller holds mu.
func (b *Budget) pause(e *Error) time.Duration {
	if e.Kind == TooMany {
		b.refusals++
	}
	if e.After > 0 {
		return min(e.After, maxBlock)
	}
	return min(firstBlock<<min(b.refusals-1, 10), lastBlock)
}

// save writes the window to the file.
func (b *Budget) save(ctx context.Context) error {
	leave, err := enter(ctx, b.writing)
	if err != nil {
		return err
	}
	defer leave()
	b.mu.Lock()
	k := kept{Recent: []int64{}}
	for _, t := range b.window.recent {
		k.Recent = append(k.Recent, t.UnixMilli())
	}
	if !b.window.blocked.IsZero() {
		k.Blocked = b.window.blocked.UnixMilli()
	}
	b.mu.Unlock()
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return replaceFile(b.path, data)
}

// replaceFile writes a file that is there whole or not at all.
func replaceFile(path string, data []byte) error {
	f, err := private.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("keep budget: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("keep budget: %w", err)
	}
	return nil
}
