package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// unkillable is how long a process may take to end after SIGKILL. A process that
// takes longer hangs in the kernel, where no signal reaches it.
const unkillable = 10 * time.Second

// launch holds the parameters for starting one process.
type launch struct {
	name     string // for messages: "s3" or "s3.lake"
	user     *User  // that it runs as; nil: the host's
	binary   *Binary
	base     string   // where the private directory goes
	env      []string // the host's environment
	declared []string // variables of it that the plugin's description names
	logger   *slog.Logger
	red      *redactor
	now      func() time.Time
	timeouts Timeouts
}

// process is one start of a plugin. Its owner stops it.
type process struct {
	name     string
	timeouts Timeouts
	logger   *slog.Logger
	run      *processRunner
	logs     *logs
	dir      *runDir
	now      func() time.Time
	started  time.Time

	client  *goplugin.Client
	conn    capturedConn
	ready   bool // connect succeeded
	rpc     *protocol.Client
	version int // of the protocol, as negotiated

	apart bool // it runs as another user, who must not read the host's files

	watching sync.WaitGroup
	gone     chan struct{} // closed when the process has ended and all is cleaned up

	mu    sync.Mutex
	cause *FrozenError // why it was killed; nil: it was not, or on request
	asked bool         // it was asked to stop
	ended time.Time    // zero: it runs
}

// startProcess starts a plugin and returns when it answers its health check.
// When ctx ends or the start takes too long, nothing is left of it.
func startProcess(ctx context.Context, l launch) (*process, error) {
	dir, err := newRunDir(l.base, l.user)
	if err != nil {
		return nil, err
	}
	p := &process{
		name: l.name, timeouts: l.timeouts, logger: l.logger, dir: dir,
		logs: newLogs(l.logger, l.red), now: l.now, started: l.now(), gone: make(chan struct{}), apart: l.user != nil,
	}
	cmd := &exec.Cmd{Args: []string{l.binary.Path}, Dir: dir.tmp, Env: pluginEnv(l.env, l.declared, dir.tmp)}
	l.red.add(envSecrets(cmd.Env)...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", protocol.EnvParent, os.Getpid()))
	setExecutable(cmd, l.binary)
	setProcAttr(cmd)
	if l.user != nil {
		l.user.become(cmd)
	}
	p.run = newRunner(cmd, dir, p.logs)
	p.client = newClient(p, l.timeouts.Start)

	sctx, cancel := context.WithTimeout(ctx, l.timeouts.Start)
	defer cancel()
	if err := p.connect(sctx); err != nil {
		err = p.startFailure(ctx, sctx, l, err)
		p.cleanup()
		return nil, err
	}
	p.logger.Debug("plugin started", "pid", p.run.ID(), "protocol", p.version)
	p.watching.Go(p.watch)
	go p.bury()
	return p, nil
}

// bury waits for the end of the process, notes it, and cleans up.
func (p *process) bury() {
	defer close(p.gone)
	<-p.run.exited
	p.mu.Lock()
	p.ended = p.now()
	unexpected := !p.asked && p.cause == nil
	p.mu.Unlock()
	if unexpected {
		p.logger.Error("plugin process ended unexpectedly", "status", p.run.status)
	}
	p.watching.Wait()
	p.cleanup()
}

// cleanup kills the rest of the process's group, joins the goroutines that were
// started for it, and removes its private directory.
func (p *process) cleanup() {
	p.run.signal(syscall.SIGKILL)
	if p.run.ID() != "" {
		if !waitFor(p.run.joined, unkillable) {
			p.logger.Error("plugin process did not end after SIGKILL; it is left running", "pid", p.run.ID())
			return
		}
	}
	// The process is gone, so that Kill ends at once: it closes the connection
	// and joins go-plugin's goroutines. Without a connection it would make one.
	if p.ready {
		p.client.Kill()
	}
	p.conn.close()
	if err := p.dir.remove(); err != nil {
		p.logger.Warn("could not remove the private directory of a plugin", "path", p.dir.path, "error", err)
	}
}

// watch asks for the plugin's health until the process ends, and kills it when
// it does not answer.
func (p *process) watch() {
	tick := time.NewTicker(p.timeouts.Heartbeat)
	defer tick.Stop()
	missed := 0
	for {
		select {
		case <-p.run.exited:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), p.timeouts.HeartbeatTimeout)
		err := p.health(ctx)
		late := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			missed = 0
		case late:
			missed++
		}
		if missed == 2 {
			p.kill(p.frozen("heartbeat", 2*p.timeouts.HeartbeatTimeout))
			return
		}
	}
}

// kill ends a process that gave no sign of life. Calls in progress return the
// reason.
func (p *process) kill(cause *FrozenError) {
	p.mu.Lock()
	if p.cause == nil && !p.asked {
		p.cause = cause
		p.logger.Error("killing a plugin that does not answer", "during", cause.During, "after", cause.After)
	}
	p.mu.Unlock()
	p.run.signal(syscall.SIGKILL)
}

func (p *process) frozen(during string, after time.Duration) *FrozenError {
	return &FrozenError{Plugin: p.name, During: during, After: after, Log: p.logs.last()}
}

// stop drains the plugin, then ends it: by SIGTERM and, when that does not
// help, by SIGKILL. It returns when nothing is left; ctx shortens the draining
// and the grace only. It may be called again, and when the process has ended.
func (p *process) stop(ctx context.Context) {
	p.mu.Lock()
	first := !p.asked
	p.asked = true
	p.mu.Unlock()
	if first && p.alive() {
		if p.drain(ctx) {
			p.conn.close() // a server that stops gracefully waits for this
		}
		p.run.signal(syscall.SIGTERM)
		waitContext(ctx, p.run.exited, p.timeouts.Term)
		p.run.signal(syscall.SIGKILL)
	}
	if !waitFor(p.gone, unkillable+2*pipeGrace) {
		p.logger.Error("plugin process did not end", "pid", p.run.ID())
	}
}

// drain asks the plugin to finish its open calls, and reports whether it has.
func (p *process) drain(ctx context.Context) bool {
	limit := p.timeouts.Drain
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2) // the rest is for SIGTERM
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := p.rpc.Drain(ctx)
	if err != nil && p.alive() {
		p.logger.Warn("plugin did not finish its open work in time", "error", p.logs.red.clean(err.Error()))
	}
	return err == nil
}

// endedAt is when the process ended, which it has.
func (p *process) endedAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *process) alive() bool {
	select {
	case <-p.run.exited:
		return false
	default:
		return true
	}
}

// death is the error for a call that the end of the process cut. The process
// has ended.
func (p *process) death(during string, err error) error {
	p.mu.Lock()
	cause, asked, ended := p.cause, p.asked, p.ended
	p.mu.Unlock()
	switch {
	case cause != nil:
		frozen := *cause
		frozen.Err = err
		return &frozen
	case asked && err != nil:
		return fmt.Errorf("%s: %w: %w", during, ErrStopped, err)
	case asked:
		return fmt.Errorf("%s: %w", during, ErrStopped)
	}
	// Its last lines may still be in the pipes.
	waitFor(p.run.joined, 2*pipeGrace)
	if ended.IsZero() {
		ended = p.now()
	}
	return &CrashError{Plugin: p.name, During: during, Status: p.run.status, Uptime: ended.Sub(p.started), Log: p.logs.last(), Err: err}
}

func waitFor(ch <-chan struct{}, d time.Duration) bool {
	return waitContext(context.Background(), ch, d)
}

func waitContext(ctx context.Context, ch <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}
