package plugin

import (
	"context"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// Destination is one destination block's plugin process, kept running: one
// that ended is started and configured again by the next call. It may be used
// concurrently.
//
// A call that finds the plugin ended waits for the pause that its crashes have
// earned. The call that was cut by a crash returns *CrashError; whether to try
// again is the caller's to decide.
type Destination struct {
	m    *Manager
	typ  string
	name string // "s3.lake"
	red  redactor

	life context.Context // ends when Stop begins
	end  context.CancelCauseFunc

	starting chan struct{} // held, by a value in it, while cur and budget are looked at
	cur      *process      // may have ended
	budget   budget

	turns turns // of exports

	mu      sync.Mutex
	desc    *protocol.Description
	configs map[int64]configuration // by project
	order   []int64                 // in which they were first configured
}

// configuration is the last valid configuration of a project.
type configuration struct {
	project protocol.Project
	json    []byte
}

// Destination names the plugin of a type for one destination block: typ "s3",
// name "lake". Nothing runs before Start or the first call.
func (m *Manager) Destination(typ, name string) *Destination {
	life, end := context.WithCancelCause(context.Background())
	return &Destination{
		m: m, typ: typ, name: typ + "." + name, life: life, end: end,
		starting: make(chan struct{}, 1), budget: budget{rules: m.opts.Restart}, configs: map[int64]configuration{}, turns: turns{of: map[int64]chan struct{}{}},
	}
}

// Start starts the plugin, unless it runs.
func (d *Destination) Start(ctx context.Context) error {
	_, err := d.running(ctx)
	return err
}

// Stop drains and ends the plugin and returns when nothing is left of it. ctx
// shortens the draining. It may be called again, and without Start; after it
// every call fails with ErrStopped.
func (d *Destination) Stop(ctx context.Context) {
	d.end(ErrStopped)
	d.starting <- struct{}{} // a start in progress has been told to end
	defer func() { <-d.starting }()
	if d.cur != nil {
		d.cur.stop(ctx)
	}
	d.m.forget(d)
}

// running returns the process, started and configured.
func (d *Destination) running(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.life, func() { cancel(ErrStopped) })()

	select {
	case d.starting <- struct{}{}:
		defer func() { <-d.starting }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil || d.life.Err() != nil {
		cancel(ErrStopped) // no-op when ctx has ended
		return nil, fmt.Errorf("plugin %s: %w", d.name, context.Cause(ctx))
	}
	if d.cur != nil && d.cur.alive() {
		return d.cur, nil
	}
	return d.restart(ctx)
}

// restart starts the process, or starts it again when it is due.
func (d *Destination) restart(ctx context.Context) (*process, error) {
	again := int64(0)
	if old := d.cur; old != nil {
		again = 1
		waitContext(ctx, old.gone, unkillable)
		d.budget.crashed(old.endedAt(), old.death("", nil))
		d.cur = nil
	}
	if err := d.pause(ctx); err != nil {
		return nil, err
	}
	p, err := d.begin(ctx)
	if err != nil {
		if ctx.Err() == nil && isTransient(err) {
			d.budget.crashed(d.m.opts.Clock.Now(), err)
		}
		return nil, err
	}
	d.cur = p
	d.m.restarted(d.name, again)
	return p, nil
}

// isTransient reports whether another start may succeed after err.
func isTransient(err error) bool { return protocol.ClassOf(err) == protocol.Retryable }

// pause waits until the next start is due.
func (d *Destination) pause(ctx context.Context) error {
	clock := d.m.opts.Clock
	pause, spent, until := d.budget.wait(clock.Now())
	if spent {
		return &BudgetError{Plugin: d.name, Crashes: len(d.budget.crashes), Window: d.budget.rules.Window, Until: until, Last: d.budget.last}
	}
	if pause == 0 {
		return nil
	}
	d.m.opts.Logger.Info("restarting plugin after a pause", "plugin", d.name, "pause", pause)
	select {
	case <-clock.After(pause):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("plugin %s: %w", d.name, context.Cause(ctx))
	}
}

// begin starts a process with the environment that its description declares, and
// tells it every configuration.
func (d *Destination) begin(ctx context.Context) (*process, error) {
	if err := d.m.remember(d); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", d.name, err)
	}
	b, err := d.m.dir.Open(d.typ)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	desc, err := d.m.description(ctx, b)
	if err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, d.m.launch(d.name, b, desc.Environment, &d.red))
	if err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, p, desc); err != nil {
		p.stop(ctx)
		return nil, err
	}
	return p, nil
}

// prepare tells a process that was started every configuration.
func (d *Destination) prepare(ctx context.Context, p *process, desc protocol.Description) error {
	d.mu.Lock()
	d.desc = &desc
	configs := make([]configuration, 0, len(d.order))
	for _, id := range d.order {
		configs = append(configs, d.configs[id])
	}
	d.mu.Unlock()
	for _, c := range configs {
		answer, err := d.configure(ctx, p, c)
		if err != nil {
			return err
		}
		if mistake := firstMistake(answer); mistake != nil {
			return fmt.Errorf("configure plugin %s again for project %s: %w", d.name, c.project.Name, mistake)
		}
	}
	return nil
}

// Description returns the plugin's description as of its last start; the zero
// Description before Start.
func (d *Destination) Description() protocol.Description {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.desc == nil {
		return protocol.Description{}
	}
	return *d.desc
}

// Partitioning returns the date that partitions are made by. It is known after
// Start.
func (d *Destination) Partitioning() protocol.Partitioning {
	return d.Description().Capabilities.Partitioning
}

// remember registers a destination that has or will have a process.
func (m *Manager) remember(d *Destination) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	m.alive[d] = struct{}{}
	return nil
}

func (m *Manager) forget(d *Destination) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.alive, d)
}
