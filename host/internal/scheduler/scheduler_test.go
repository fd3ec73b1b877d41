package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// clock is a wall clock that can be set, over the test's own.
type clock struct {
	mu  sync.Mutex
	set time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.set)
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += d
}

// job is a task that is due every so often on the wall clock.
type job struct {
	name, group string
	clock       *clock
	every       time.Duration
	takes       time.Duration
	note        func(*job)

	mu      sync.Mutex
	next    time.Time // zero: not before it is set
	asked   int
	running bool
	twice   bool
}

func (j *job) Name() string  { return j.name }
func (j *job) Group() string { return j.group }

func (j *job) Next(context.Context) (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked++
	return j.next, !j.next.IsZero()
}

func (j *job) Run(ctx context.Context) {
	j.mu.Lock()
	j.twice = j.twice || j.running
	j.running = true
	j.mu.Unlock()
	if j.note != nil {
		j.note(j)
	}
	if j.takes > 0 {
		_ = lifecycle.Wait(ctx, j.takes)
	}
	j.mu.Lock()
	j.running = false
	j.next = j.clock.now().Add(j.every)
	j.mu.Unlock()
}

func (j *job) times() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked
}

func (j *job) setNext(t time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = t
}

// log is the runs of jobs, in the order in which they began.
type log struct {
	mu    sync.Mutex
	began time.Time
	runs  []string
}

func (l *log) note(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, fmt.Sprintf("%s@%s", j.name, time.Since(l.began)))
}

func (l *log) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.runs = nil }()
	return l.runs
}

// serve runs a scheduler in a bubble of its own time, while script goes on in it.
func serve(t *testing.T, perGroup int, c *clock, jobs []*job, script func(s *Scheduler)) {
	t.Helper()
	tasks := make([]Task, 0, len(jobs))
	for _, j := range jobs {
		tasks = append(tasks, j)
	}
	s := New(Options{Now: c.now, Ticker: lifecycle.Ticker, PerGroup: perGroup}, tasks)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(ctx)
	}()
	synctest.Wait()
	script(s)
	stop()
	<-ended
	for _, j := range jobs {
		if j.twice || j.running {
			t.Errorf("%s: ran twice at once: %v, runs after the end: %v", j.name, j.twice, j.running)
		}
	}
}

// pass lets time pass, and everything happen that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTasksRunWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := &clock{}, &log{began: time.Now()}
		a := &job{name: "a", clock: c, every: time.Hour, takes: 10 * time.Minute, next: c.now().Add(time.Hour), note: l.note}
		b := &job{name: "b", clock: c, every: 24 * time.Hour, next: c.now(), note: l.note}
		idle := &job{name: "idle", clock: c, note: l.note}
		serve(t, 0, c, []*job{a, b, idle}, func(*Scheduler) {
			pass(3 * time.Hour)
			want := []string{"b@0s", "a@1h0m0s", "a@2h10m0s"}
			if got := l.take(); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if a.times() != 3 || b.times() != 2 || idle.times() != 1 {
				t.Errorf("tasks were asked %d, %d and %d times", a.times(), b.times(), idle.times())
			}
		})
	})
}

// Wake moves a task that waits, and one that runs.
func TestWokenTasksAreAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := &clock{}, &log{began: time.Now()}
		idle := &job{name: "idle", clock: c, every: time.Hour, takes: time.Minute, note: l.note}
		serve(t, 0, c, []*job{idle}, func(s *Scheduler) {
			pass(time.Hour)
			s.Wake("idle") // it is not due
			s.Wake("unknown")
			pass(time.Second)
			idle.setNext(c.now())
			s.Wake("idle")
			pass(10 * time.Second)
			s.Wake("idle") // it runs
			pass(2 * time.Minute)
			if got, want := l.take(), []string{"idle@1h0m1s"}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			idle.setNext(time.Time{}) // it is paused
			s.Wake("idle")
			pass(24 * time.Hour)
			if got := l.take(); len(got) > 0 {
				t.Errorf("it ran while it was paused: %v", got)
			}
		})
	})
}

// A wall clock that is set forward makes tasks due; one that is set back has them asked
// for their times again.
func TestAClockThatIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := &clock{}, &log{began: time.Now()}
		a := &job{name: "a", clock: c, every: 24 * time.Hour, next: c.now().Add(24 * time.Hour), note: l.note}
		serve(t, 0, c, []*job{a}, func(*Scheduler) {
			pass(time.Minute)
			c.move(48 * time.Hour)
			pass(2 * time.Minute)
			if got := l.take(); len(got) != 1 {
				t.Errorf("after the clock was set forward: %v", got)
			}
			asked := a.times()
			a.setNext(c.now().Add(-47 * time.Hour)) // as its schedule has it by the right clock
			c.move(-48 * time.Hour)
			pass(2 * time.Minute)
			if a.times() != asked+1 {
				t.Errorf("after the clock was set back the task was asked %d times", a.times()-asked)
			}
			pass(time.Hour)
			if got := l.take(); len(got) != 1 {
				t.Errorf("after the clock was set back: %v", got)
			}
		})
	})
}

// Tasks of a group wait for each other, in the order in which they became due, and keep
// no other group waiting.
func TestGroupsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := &clock{}, &log{began: time.Now()}
		var jobs []*job
		for n := range 4 {
			jobs = append(jobs, &job{
				name: fmt.Sprint("slow", n), group: "slow", clock: c, every: 24 * time.Hour, takes: time.Minute, note: l.note,
				next: c.now().Add(time.Duration(n+1) * time.Millisecond),
			})
		}
		jobs = append(jobs, &job{name: "quick", group: "quick", clock: c, every: 24 * time.Hour, note: l.note, next: c.now().Add(10 * time.Second)})
		serve(t, 2, c, jobs, func(*Scheduler) {
			pass(time.Hour)
			want := []string{"slow0@1ms", "slow1@2ms", "quick@10s", "slow2@1m0.001s", "slow3@1m0.002s"}
			if got := l.take(); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	})
}

// A task that is due again at once does not keep the processor busy.
func TestATaskThatIsAlwaysDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := &clock{}, &log{began: time.Now()}
		a := &job{name: "a", clock: c, next: c.now(), note: l.note}
		serve(t, 0, c, []*job{a}, func(*Scheduler) {
			pass(10 * time.Second)
			if got := len(l.take()); got != 11 {
				t.Errorf("it ran %d times in ten seconds", got)
			}
		})
	})
}

// Serve ends after the runs that it has started.
func TestServeEndsAfterItsRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &clock{}
		a := &job{name: "a", clock: c, every: time.Hour, takes: 24 * time.Hour, next: c.now()}
		serve(t, 0, c, []*job{a}, func(*Scheduler) { pass(time.Second) })
	})
}

// A task that is taken out ends its run and is not run again; one that is added is run
// when it is due, also while the one whose name it has still runs.
func TestTasksAreReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &clock{}
		l := &log{began: time.Now()}
		old := &job{name: "a", group: "g", clock: c, every: time.Minute, takes: 30 * time.Second, note: l.note, next: c.now()}
		other := &job{name: "b", group: "g", clock: c, every: 10 * time.Minute, note: l.note, next: c.now().Add(10 * time.Minute)}
		added := &job{name: "a", group: "g", clock: c, every: time.Hour, note: l.note, next: c.now().Add(5 * time.Second)}
		serve(t, 2, c, []*job{old, other}, func(s *Scheduler) {
			s.Replace([]string{"a", "b", "unknown"}, []Task{added})
			pass(30 * time.Minute)
		})
		if got, want := l.take(), []string{"a@0s", "a@5s"}; !slices.Equal(got, want) {
			t.Errorf("runs %q, want %q", got, want)
		}
	})
}

// The real clock's times have a reading of a clock that is not set, which would hide that
// the wall clock was: the scheduler compares what the wall shows.
func TestTimesAreComparedByTheWallClock(t *testing.T) {
	now := time.Now()
	if d := onWall(now, now.Add(time.Hour)); d != now.Round(0).Add(time.Hour) {
		t.Errorf("in an hour is %s", d)
	}
	wall := now.Round(0).Add(time.Hour)
	if d := onWall(now, wall); d != wall {
		t.Errorf("%s is %s", wall, d)
	}
	if d := onWall(now, time.Time{}); !d.Before(now) {
		t.Errorf("at once is %s", d)
	}
	s := New(Options{Now: time.Now, Ticker: lifecycle.Ticker}, nil)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s.Serve(ctx)
	if s.seen != s.seen.Round(0) {
		t.Errorf("the clock was read as %s", s.seen)
	}
	if s.lookAtClock(t.Context()); s.seen != s.seen.Round(0) {
		t.Errorf("the clock was read as %s", s.seen)
	}
}
