//go:build !race

package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/host/internal/scheduler"
	"github.com/penstock-io/penstock/host/internal/upkeep"
)

// life is one host, from its start to its end. A host that is killed changes nothing any
// more: its disk, its catalog and its plugins fail.
type life struct {
	w          *world
	dead       atomic.Bool
	system     *mortal
	catalog    *catalog.Catalog
	quarantine *quarantine.Store
	projects   *project.Set
	project    *project.Project
	runner     *runner.Runner
	schedule   *scheduler.Scheduler
	upkeep     *upkeep.Upkeep
	began      time.Time

	cancel context.CancelFunc
	served chan struct{} // closed when the scheduler has ended

	mu     sync.Mutex
	killAt string               // "pipeline/point"; guarded by mu
	due    map[string]time.Time // the tasks; guarded by mu
}

var errDead = errors.New("the host was killed")

func (l *life) alive() error {
	if l.dead.Load() {
		return errDead
	}
	return nil
}

// kill ends the host, as SIGKILL does.
func (l *life) kill() {
	if !l.dead.Swap(true) {
		_ = l.catalog.Close()
		l.w.done.kills.Add(1)
	}
}

// point is a place in an attempt at a run where the host may be killed.
func (l *life) point(pipeline, name string) error {
	l.mu.Lock()
	hit := l.killAt == pipeline+"/"+name
	l.mu.Unlock()
	if hit {
		l.w.note(pipeline, "killed at %s", name)
		l.kill()
	}
	return l.alive()
}

// mortal is the local disk until the host is dead, or until a number of calls is used up,
// which kills it.
type mortal struct {
	disk.System
	host *life
	left atomic.Int64 // 0: no limit
}

func (m *mortal) call() error {
	if m.left.Load() > 0 && m.left.Add(-1) == 0 {
		m.host.kill()
	}
	if m.host.alive() != nil {
		return syscall.EIO
	}
	return nil
}

func (m *mortal) CreateTemp(dir, pattern string) (disk.File, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	return m.System.CreateTemp(dir, pattern)
}

func (m *mortal) Open(path string) (disk.File, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	return m.System.Open(path)
}

func (m *mortal) Rename(from, to string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.System.Rename(from, to)
}

func (m *mortal) Remove(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	return m.System.Remove(path)
}

func (m *mortal) SyncDir(string) error { return m.call() } // no power is lost

// task is the iterations of a pipeline, which the world watches.
type task struct {
	*runner.Iterations
	host *life
	busy *atomic.Bool // it runs
}

// Run implements scheduler.Task.
func (t task) Run(ctx context.Context) {
	if t.busy.Swap(true) {
		t.host.w.errorf("an iteration of %s begins before the one before has ended", t.Name())
	}
	defer t.busy.Store(false)
	end := t.host.w.begins(ctx, t.host, t.Name())
	t.Iterations.Run(ctx)
	end()
}

// Next implements scheduler.Task.
func (t task) Next(ctx context.Context) (time.Time, bool) {
	at, ok := t.Iterations.Next(ctx)
	t.host.mu.Lock()
	defer t.host.mu.Unlock()
	if t.host.due[t.Name()] = at; !ok {
		delete(t.host.due, t.Name())
	}
	return at, ok
}

// ticker is that of the scheduler. Where the scheduler only looks at the clock, which the
// world wakes it for, it sleeps until a task is due: a half-year has 260,000 minutes.
func (l *life) ticker(d time.Duration) (tick <-chan time.Time, stop func()) {
	if d == time.Minute {
		d = 24 * time.Hour
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, at := range l.due {
			d = min(d, at.Sub(l.w.now()))
		}
		d = max(d, time.Minute)
	}
	return lifecycle.Ticker(d)
}

// start opens the data directory, as package host does, and serves pipelines.
func (w *world) start() *life {
	w.lives++
	l := &life{w: w, served: make(chan struct{}), began: w.now(), due: map[string]time.Time{}}
	l.system = &mortal{System: disk.Local(), host: l}
	ctx := w.ctx
	dir := datadir.Dir{Data: w.dir, Blobs: filepath.Join(w.dir, "blobs")}
	store, err := disk.OpenOn(l.system, dir.Blobs)
	if err == nil {
		err = store.Sweep()
	}
	w.must(err)
	owner := fmt.Sprintf("host-%d", w.lives)
	l.catalog, err = catalog.Open(ctx, dir.Path(datadir.CatalogFile), owner)
	w.must(err)
	w.must(errors.Join(l.catalog.ExpirePending(ctx), l.catalog.ExpireLeases(ctx), l.catalog.RegisterProject(ctx, w.shop.ID, w.shop.Name, w.shop.TimeZone.String())))
	l.quarantine, err = quarantine.Open(dir.Path(datadir.QuarantineDir), quarantine.Options{Ledger: l.catalog.Quarantine(), Now: w.now})
	w.must(err)
	spill, err := disk.OpenDir(dir.Path(datadir.SpillDir))
	w.must(err)
	log := slog.New(&listener{w: w, host: l})
	l.projects = project.New(project.Options{
		Dir: dir, Store: store, Spill: spill, Catalog: l.catalog, Memory: 1 << 20, Names: w.name,
		Now: w.now, Wait: lifecycle.Wait, Log: log, Observer: progress.Discard{},
	}, []*config.Project{w.shop})
	l.project = l.projects.All()[0]
	l.runner = runner.New(runner.Options{
		Projects: l.projects, Catalog: l.catalog, Quarantine: l.quarantine, Owner: owner,
		Destinations: destination.Open(&config.Config{}, func(_, name string) destination.Plugin { return plugin{w.places[name], l} }, log),
		Now:          w.now, Wait: lifecycle.Wait, Ticker: lifecycle.Ticker, Random: func(time.Duration) time.Duration { return 0 }, Log: log,
		Observer: progress.Discard{}, Prepare: func(context.Context) error { return nil }, Wake: func(name string) { l.schedule.Wake(name) },
	}, w.configured())
	l.schedule = scheduler.New(scheduler.Options{Now: w.now, Ticker: l.ticker}, l.tasks(l.runner.Tasks()))
	l.upkeep = upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project {
			return []upkeep.Project{{ID: w.shop.ID, Name: w.shop.Name, Reader: l.project.Journal.Reader()}}
		},
		Store: store, Catalog: l.catalog, Retention: w.retention, Busy: l.runner.Busy, Names: w.name,
		Configured: func() (all []pipeline.Definition) {
			for _, p := range l.runner.All() {
				all = append(all, p.Config.Definition())
			}
			return all
		},
		Now: w.now, Wait: lifecycle.Wait, Log: log,
	})
	w.must(l.projects.Open(ctx))
	serving, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	go func() {
		defer close(l.served)
		if err := l.runner.Begin(serving); err != nil {
			w.errorf("the host does not begin: %v", explain(err))
		}
		l.schedule.Serve(serving)
	}()
	return l
}

// explain returns the text of an error, with the mistakes of a configuration.
func explain(err error) string {
	var wrong *diagnostic.ConfigurationError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	var b strings.Builder
	for _, d := range wrong.Diagnostics.List {
		fmt.Fprintf(&b, "%s: %s ", d.Summary, d.Detail)
	}
	return b.String()
}

func (l *life) tasks(all []*runner.Iterations) (tasks []scheduler.Task) {
	for _, i := range all {
		tasks = append(tasks, task{i, l, new(atomic.Bool)})
	}
	return tasks
}

// stop ends the host. The errors of one that was killed say nothing.
func (l *life) stop() {
	l.cancel()
	<-l.served
	err := errors.Join(l.projects.Close(), l.quarantine.Close(), l.catalog.Close())
	if err != nil && l.alive() == nil {
		l.w.errorf("the host does not stop: %v", err)
	}
	l.dead.Store(true)
}

// change changes to other pipelines, as a reload does.
func (l *life) change() *runner.Replacement { return runner.Reload(l.runner, l.w.configured()) }

func (l *life) replace(r *runner.Replacement) { l.schedule.Replace(r.Gone, l.tasks(r.Added)) }

// listener reads the log: it tells the world which pipelines have failed.
type listener struct {
	w        *world
	host     *life
	pipeline string
}

func (h *listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (h *listener) WithGroup(string) slog.Handler                    { return h }

func (h *listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	for _, a := range attrs {
		if a.Key == "pipeline" {
			next.pipeline = a.Value.String()
		}
	}
	return &next
}

// Handle implements slog.Handler.
func (h *listener) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	if h.pipeline != "" && strings.HasPrefix(r.Message, "pipeline failed") {
		h.w.hasFailed(h.pipeline, text)
	} else if h.host.alive() == nil {
		h.w.errorf("the log says: %s", text)
	}
	return nil
}
