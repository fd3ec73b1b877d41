package scheduler

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// Task is work that comes due again and again. Its methods are not called concurrently.
type Task interface {
	// Name identifies the task for Wake.
	Name() string
	// Group names the tasks that load the same thing, such as a destination: a limited
	// number of them runs at a time.
	Group() string
	// Next returns when the task is due; a time that has passed means at once. ok is
	// false if it is not due before Wake is called.
	Next(ctx context.Context) (at time.Time, ok bool)
	// Run does the work that is due. It handles its own errors.
	Run(ctx context.Context)
}

// Options are the clock and the limits of a scheduler.
type Options struct {
	Now func() time.Time
	// Ticker returns a channel that is sent the time every d until stop is called.
	Ticker func(d time.Duration) (tick <-chan time.Time, stop func())
	// PerGroup is how many tasks of a group run at a time; 0: DefaultPerGroup.
	PerGroup int
}

// DefaultPerGroup is how many tasks of one group run at a time.
const DefaultPerGroup = 16

const (
	// lookEvery is the longest time between two looks at the wall clock. Timers follow
	// a clock that is not set, and schedules one that is.
	lookEvery = time.Minute
	// clockBack is how far the clock must be set back for all tasks to be asked again.
	clockBack = 30 * time.Second
	// leastPause is the shortest time from the end of a task's run to its next one.
	leastPause = time.Second
)

// Scheduler runs tasks when they are due.
type Scheduler struct {
	o       Options
	entries map[string]*entry
	waiting timeline            // entries with a time
	groups  map[string]*group   // by name
	ended   chan *entry         // runs that have ended
	woken   chan struct{}       // sent to after names has changed
	mu      sync.Mutex          // guards names
	names   map[string]struct{} // of tasks that are to be asked for their time
	changes []change            // of the tasks, in order; guarded by mu
	seen    time.Time           // the wall clock at the last look
}

// entry is a task with its place in the schedule. All fields but the task belong to
// Serve, and next and ok to the run while running is set.
type entry struct {
	Task
	next    time.Time
	ok      bool
	index   int // in the timeline; -1: it is not there
	running bool
	queued  bool // due, and kept waiting by its group
	again   bool // Wake was called while it ran
	gone    bool // it was replaced while it ran
}

// change is a call of Replace.
type change struct {
	gone  []string
	added []Task
}

// group counts the runs of a group, and holds the tasks that wait for one of them.
type group struct {
	running int
	queue   []*entry
}

// New returns a scheduler of tasks. Their names differ.
func New(o Options, tasks []Task) *Scheduler {
	if o.PerGroup == 0 {
		o.PerGroup = DefaultPerGroup
	}
	s := &Scheduler{
		o: o, entries: map[string]*entry{}, groups: map[string]*group{}, ended: make(chan *entry),
		woken: make(chan struct{}, 1), names: map[string]struct{}{},
	}
	for _, t := range tasks {
		s.entries[t.Name()] = &entry{Task: t, index: -1}
	}
	return s
}

// Wake has a task asked again for its time, because a person or a change has moved it.
// It may be called at any time, also for a name that there is not.
func (s *Scheduler) Wake(name string) {
	s.mu.Lock()
	s.names[name] = struct{}{}
	s.mu.Unlock()
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Replace takes tasks out, and then adds others. A task that runs ends its run, also
// when a new one of its name is due. It may be called at any time.
func (s *Scheduler) Replace(gone []string, added []Task) {
	s.mu.Lock()
	s.changes = append(s.changes, change{gone, added})
	s.mu.Unlock()
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// takeChanges carries out the calls of Replace.
func takeChanges(ctx context.Context, s *Scheduler) {
	s.mu.Lock()
	changes := s.changes
	s.changes = nil
	s.mu.Unlock()
	for _, c := range changes {
		for _, name := range c.gone {
			if e := s.entries[name]; e != nil {
				remove(s, e)
			}
		}
		for _, t := range c.added {
			e := &entry{Task: t, index: -1}
			s.entries[t.Name()] = e
			s.ask(ctx, e)
		}
	}
}

// remove takes a task out. Its run goes on.
func remove(s *Scheduler, e *entry) {
	delete(s.entries, e.Name())
	e.gone = true
	if e.index >= 0 {
		heap.Remove(&s.waiting, e.index)
	}
	if e.queued {
		g := s.group(e)
		g.queue = slices.DeleteFunc(g.queue, func(q *entry) bool { return q == e })
	}
}

// Serve runs tasks when they are due, until ctx is done and the runs have ended. It is
// called once.
func (s *Scheduler) Serve(ctx context.Context) {
	for _, e := range s.entries {
		s.ask(ctx, e)
	}
	s.seen = s.o.Now().Round(0)
	active := 0
	for ctx.Err() == nil {
		active += s.startDue(ctx)
		tick, stop := s.o.Ticker(s.pause())
		select {
		case <-ctx.Done():
		case <-tick:
		case <-s.woken:
			takeChanges(ctx, s)
			s.askWoken(ctx)
		case e := <-s.ended:
			active--
			s.end(ctx, e)
		}
		stop()
		s.lookAtClock(ctx)
	}
	for ; active > 0; active-- {
		<-s.ended
	}
}

// pause returns how long nothing is due.
func (s *Scheduler) pause() time.Duration {
	if len(s.waiting) == 0 {
		return lookEvery
	}
	return min(max(s.waiting[0].next.Sub(s.o.Now()), time.Millisecond), lookEvery)
}

// lookAtClock asks all tasks again if the wall clock was set back: their times may lie
// as far in the future as the clock was fast.
func (s *Scheduler) lookAtClock(ctx context.Context) {
	now := s.o.Now().Round(0) // without the reading of the clock that is not set
	if back := s.seen.Sub(now); back > clockBack {
		for _, e := range s.entries {
			s.ask(ctx, e)
		}
	}
	s.seen = now
}

// ask files a task under its next time. One that runs is asked when it has ended.
func (s *Scheduler) ask(ctx context.Context, e *entry) {
	if e.running {
		e.again = true
		return
	}
	if !e.queued {
		e.next, e.ok = e.Next(ctx)
		s.file(e)
	}
}

// askWoken asks the tasks that Wake has named.
func (s *Scheduler) askWoken(ctx context.Context) {
	s.mu.Lock()
	names := s.names
	s.names = map[string]struct{}{}
	s.mu.Unlock()
	for name := range names {
		if e := s.entries[name]; e != nil {
			s.ask(ctx, e)
		}
	}
}

// file puts a task where its time is, or takes it out.
func (s *Scheduler) file(e *entry) {
	if e.index >= 0 {
		heap.Remove(&s.waiting, e.index)
	}
	if e.ok {
		e.next = onWall(s.o.Now(), e.next)
		heap.Push(&s.waiting, e)
	}
}

// onWall returns a time as the wall clock will show it if it is not set until then. Times
// are compared in the timeline, and some of them have a reading of the clock that is not
// set: two such compare otherwise than each of them with a third.
func onWall(now, t time.Time) time.Time { return now.Round(0).Add(t.Sub(now)) }

// startDue starts the tasks that are due, as far as their groups let it, and returns
// how many it started.
func (s *Scheduler) startDue(ctx context.Context) (started int) {
	for now := s.o.Now(); len(s.waiting) > 0 && !s.waiting[0].next.After(now); {
		e := heap.Pop(&s.waiting).(*entry)
		e.queued = true
		g := s.group(e)
		g.queue = append(g.queue, e)
	}
	for _, g := range s.groups {
		for g.running < s.o.PerGroup && len(g.queue) > 0 {
			e := g.queue[0]
			g.queue = g.queue[1:]
			s.start(ctx, g, e)
			started++
		}
	}
	return started
}

func (s *Scheduler) group(e *entry) *group {
	g := s.groups[e.Group()]
	if g == nil {
		g = &group{}
		s.groups[e.Group()] = g
	}
	return g
}

// start runs a task, and asks it for its next time afterwards.
func (s *Scheduler) start(ctx context.Context, g *group, e *entry) {
	g.running++
	e.queued, e.running = false, true
	go func() {
		e.Run(ctx)
		e.next, e.ok = e.Next(ctx)
		s.ended <- e
	}()
}

// end files a task whose run has ended.
func (s *Scheduler) end(ctx context.Context, e *entry) {
	s.group(e).running--
	e.running = false
	if e.gone {
		return
	}
	if e.again {
		e.again = false
		e.next, e.ok = e.Next(ctx)
	}
	if least := s.o.Now().Add(leastPause); e.ok && e.next.Before(least) {
		e.next = least
	}
	s.file(e)
}

// timeline is a heap of tasks, the next one first, in the order of their names when they
// are due at the same time.
type timeline []*entry

func (t timeline) Len() int { return len(t) }
func (t timeline) Less(i, j int) bool {
	if order := t[i].next.Compare(t[j].next); order != 0 {
		return order < 0
	}
	return t[i].Name() < t[j].Name()
}

func (t timeline) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push implements heap.Interface.
func (t *timeline) Push(x any) {
	e := x.(*entry)
	e.index = len(*t)
	*t = append(*t, e)
}

// Pop implements heap.Interface.
func (t *timeline) Pop() any {
	last := len(*t) - 1
	e := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	e.index = -1
	return e
}
