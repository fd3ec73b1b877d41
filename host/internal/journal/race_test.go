package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
)

// another returns another process on the same disk and catalog.
func (m *machine) another(owner string) *machine {
	m.t.Helper()
	script := &disktest.Script{}
	o := &machine{bench: bench{t: m.t, dir: m.dir}, script: script, disk: m.disk.With(script), ids: m.ids, times: m.times}
	var err error
	if o.catalog, err = catalog.Open(m.t.Context(), filepath.Join(m.dir, "catalog.db"), owner); err != nil {
		m.t.Fatal(err)
	}
	o.open()
	return o
}

func (m *machine) open() {
	m.t.Helper()
	var err error
	if m.store, err = disk.OpenOn(m.disk, "/blobs"); err != nil {
		m.t.Fatal(err)
	}
}

// A process hangs at each of its steps, for longer than a seal may take.
// Another one sweeps and reads the same source to its end, and then the first one
// continues. After each step every row is there once, and every file that is left
// has a name in the catalog.
func TestAHungSealerChangesNothing(t *testing.T) {
	empty := emptyCatalog(t)
	for other, refusal := range map[string]string{"sweeps": "pending gone", "sweeps and seals": "cursor conflict"} {
		failures := map[string]int{}
		for n, name := range steps(t, empty) {
			t.Run(fmt.Sprintf("%s at step %d, %s", other, n+1, strings.ReplaceAll(name, "/", "∕")), func(t *testing.T) {
				script := &disktest.Script{}
				m := newMachine(t, empty, disktest.New(script), script, "host-1")
				m.sealTime = -time.Second
				hangs, goOn := make(chan struct{}), make(chan struct{})
				script.Fail(func(i int, _ string) (disktest.Fault, error) {
					if i == n+1 {
						close(hangs)
						<-goOn
					}
					return disktest.None, nil
				})
				acknowledged, fed := 0, make(chan error)
				go func() {
					err := m.start()
					if err == nil {
						acknowledged, err = m.feed()
					}
					fed <- err
				}()
				var err error
				select {
				case err = <-fed: // its reads differ: it did not reach this step
					script.Fail(nil)
				case <-hangs:
					second := m.another("host-2")
					if other == "sweeps" {
						err = journal.Recover(t.Context(), second.catalog, second.store, project)
					} else {
						_, err = second.feed()
					}
					if err != nil {
						t.Errorf("the second process: %v", err)
					}
					second.stop()
					close(goOn)
					err = <-fed
				}
				var conflict *journal.CursorConflictError
				switch {
				case errors.Is(err, journal.ErrPendingGone):
					failures["pending gone"]++
				case errors.As(err, &conflict):
					failures["cursor conflict"]++
				case err != nil:
					t.Errorf("the first process: %v", err)
				}
				m.open()
				m.holdsOnce(acknowledged)
				m.noOrphans()
				last := m.another("host-3")
				if _, err := last.feed(); err != nil {
					t.Fatal(err)
				}
				last.clean()
				last.stop()
				m.stop()
			})
		}
		if failures[refusal] == 0 {
			t.Errorf("another process %s: no late seal was refused with %s: %v", other, refusal, failures)
		}
	}
}

// schedule lets two processes take their steps one at a time, in an order that
// choose decides.
type schedule struct {
	waiting [2]chan chan struct{} // each process sends the channel that tells it to take its next step
	done    [2]chan struct{}
}

func newSchedule() *schedule {
	s := &schedule{}
	for i := range s.waiting {
		s.waiting[i], s.done[i] = make(chan chan struct{}), make(chan struct{})
	}
	return s
}

// step returns when it is process i's turn.
func (s *schedule) step(i int) {
	turn := make(chan struct{})
	s.waiting[i] <- turn
	<-turn
}

// run returns when both processes are done.
func (s *schedule) run(choose func(n int) int) {
	var next [2]chan struct{}
	var done [2]bool
	for {
		var ready []int
		for i := range next {
			if next[i] == nil && !done[i] {
				select {
				case next[i] = <-s.waiting[i]:
				case <-s.done[i]:
					done[i] = true
				}
			}
			if !done[i] {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			return
		}
		i := ready[0]
		if len(ready) > 1 {
			i = choose(2)
		}
		close(next[i])
		next[i] = nil
	}
}

// eachChoice calls run until all ways to choose were gone.
func eachChoice(run func(choose func(n int) int)) (runs int) {
	type choice struct{ pick, of int }
	var path []choice
	for {
		depth := 0
		run(func(n int) int {
			if depth == len(path) {
				path = append(path, choice{0, n})
			}
			depth++
			return path[depth-1].pick
		})
		runs++
		path = path[:depth]
		for len(path) > 0 && path[len(path)-1].pick+1 == path[len(path)-1].of {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return runs
		}
		path[len(path)-1].pick++
	}
}

// Two processes seal for one project. Every order in which their calls to the
// catalog can come is gone through. From two sources, each row is there once;
// from one source, one of the two is refused.
func TestEveryInterleavingOfTwoSeals(t *testing.T) {
	empty := emptyCatalog(t)
	for _, sources := range [][2]string{{"files.a", "files.b"}, {"files.a", "files.a"}} {
		retried := 0
		runs := eachChoice(func(choose func(int) int) {
			m := newMachine(t, empty, disktest.New(nil), &disktest.Script{}, "host-0")
			m.open()
			sides := [2]*machine{m.another("host-1"), m.another("host-2")}
			s := newSchedule()
			var errs [2]error
			for i, side := range sides {
				w := side.writer(side.faultyOptions())
				// The second half of the one's rows are the first half of the other's.
				from, to := i*machineChunk, (i+2)*machineChunk
				if err := w.Append(t.Context(), chunk(sources[i], m.ids[from:to], m.times[from:to], 0)); err != nil {
					t.Fatal(err)
				}
				side.script.Fail(func(_ int, step string) (disktest.Fault, error) {
					if strings.HasPrefix(step, "catalog: ") {
						s.step(i)
					}
					return disktest.None, nil
				})
				go func() {
					errs[i] = w.Seal(t.Context())
					errs[i] = errors.Join(errs[i], w.Close())
					close(s.done[i])
				}()
			}
			s.run(choose)
			m.judge(sources, errs)
			for _, side := range sides {
				retried += strings.Count(strings.Join(side.script.Steps(), "\n"), "catalog: drop")
				side.stop()
			}
			m.stop()
		})
		t.Logf("sources %q: %d interleavings, %d seals begun again", sources, runs, retried)
		if runs < 70 || retried == 0 {
			t.Errorf("sources %q: only %d interleavings, %d seals begun again", sources, runs, retried)
		}
	}
}

func (m *machine) judge(sources [2]string, errs [2]error) {
	m.t.Helper()
	m.tidy()
	if report := m.verify(); len(report.Damages) > 0 {
		m.t.Errorf("damaged: %+v", report.Damages)
	}
	if sources[0] != sources[1] {
		if err := errors.Join(errs[0], errs[1]); err != nil {
			m.t.Errorf("two sources: %v", err)
		}
		same(m.t, m.lines(), expected(m.ids[:3*machineChunk], m.times[:3*machineChunk]))
		return
	}
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	var conflict *journal.CursorConflictError
	if errs[winner] != nil || !errors.As(errs[1-winner], &conflict) {
		m.t.Errorf("one source: got %v and %v, want one conflict", errs[0], errs[1])
	}
	from, to := winner*machineChunk, (winner+2)*machineChunk
	same(m.t, m.lines(), expected(m.ids[from:to], m.times[from:to]))
}
