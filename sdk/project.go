package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// project is the destination of one project, with its locks, its open attempt
// and the newest fence.
type project struct {
	destination Destination
	log         hclog.Logger
	// busy holds a token while an export, an erasure or a new configuration
	// has the destination to itself.
	busy chan struct{}
	// life is held for reading by every call, for writing to close. It is taken
	// after busy.
	life   sync.RWMutex
	closed bool

	mu      sync.Mutex
	fences  map[pipelineKey]int64
	current *attempt // the open one, until it has unwound
}

type pipelineKey struct {
	stream Stream
	id     string
}

func keyOf(r Run) pipelineKey { return pipelineKey{r.Stream, r.PipelineID} }

func newProject(d Destination, log hclog.Logger) *project {
	return &project{destination: d, log: log, busy: make(chan struct{}, 1), fences: make(map[pipelineKey]int64)}
}

func (s *server) lookup(id int64) *project {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.projects[id]
}

// use returns a configured project that is not closed before release.
func (s *server) use(id int64) (p *project, release func(), err error) {
	for p := s.lookup(id); p != nil; p = s.lookup(id) {
		p.life.RLock()
		if !p.closed {
			return p, p.life.RUnlock, nil
		}
		p.life.RUnlock()
	}
	return nil, nil, Permanent(fmt.Errorf("project %d is not configured", id))
}

// hold is use for callers that need the destination for themselves: exports,
// erasures and new configurations. It waits until no other caller has it, or
// until ctx ends.
func (s *server) hold(ctx context.Context, id int64) (*project, func(), error) {
	for p := s.lookup(id); p != nil; p = s.lookup(id) {
		if err := p.take(ctx); err != nil {
			return nil, nil, err
		}
		p.life.RLock()
		if !p.closed {
			return p, func() { p.life.RUnlock(); <-p.busy }, nil
		}
		p.life.RUnlock()
		<-p.busy
	}
	return nil, nil, Permanent(fmt.Errorf("project %d is not configured", id))
}

func (p *project) take(ctx context.Context) error {
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return Retryable(fmt.Errorf("another export of this project is open: %w", context.Cause(ctx)), 0)
	}
}

// replace makes p the project with this id, after the open export or erasure of
// its predecessor has ended. The fences that this process has seen stay.
func (s *server) replace(ctx context.Context, id int64, p *project) error {
	for {
		old := s.lookup(id)
		if old != nil {
			if err := old.take(ctx); err != nil {
				return err
			}
			old.mu.Lock()
			p.fences = old.fences
			old.mu.Unlock()
		}
		if s.swap(id, old, p) {
			return old.retire(p.log)
		}
		if old != nil {
			<-old.busy
		}
	}
}

func (s *server) swap(id int64, old, p *project) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.projects[id] != old {
		return false
	}
	s.projects[id] = p
	return true
}

// retire closes a project that was replaced; the caller has taken it.
func (p *project) retire(log hclog.Logger) error {
	if p == nil {
		return nil
	}
	if err := p.close(); err != nil {
		log.Warn("the configuration before this one did not close", "error", err)
	}
	<-p.busy
	return nil
}

// close waits for the calls that use the destination.
func (p *project) close() error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if c, ok := p.destination.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// status asks the destination. While this process may still commit the run,
// absent may be true no longer when the answer arrives.
func (p *project) status(ctx context.Context, run Run) (Status, error) {
	unsettled := p.unsettled(run)
	status, err := p.destination.Status(ctx, run)
	if status.State == 0 {
		status.State = Absent
		if status.Last.Number >= run.Number {
			status.State = Committed
		}
	}
	if err == nil && status.State == Absent && (unsettled || p.unsettled(run)) {
		status.State = InDoubt
	}
	if status.State == Committed && status.Content == "" && status.Last.Number == run.Number {
		status.Content = status.Last.Content
	}
	return status, err
}

// unsettled reports whether an attempt at run may still commit: it is
// committing, or its stream was cut and it has not ended, so that it may have
// received the host's Commit. An attempt with a live stream that has not
// received Commit is settled.
func (p *project) unsettled(run Run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.current
	return a != nil && keyOf(a.run) == keyOf(run) && a.run.Number == run.Number && (a.committing.Load() || a.cutOff())
}

// enter makes an attempt the current one, until leave is called.
func (p *project) enter(a *attempt) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = a
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.current = nil
	}
}

// claim notes a fence and refuses one that is older than another that this
// process has seen.
func (p *project) claim(run Run) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen := p.fences[keyOf(run)]; run.Fence < seen {
		return Fenced(fmt.Errorf("fence %d is older than %d, which holds the target", run.Fence, seen))
	}
	p.fences[keyOf(run)] = run.Fence
	return nil
}

// openTime bounds the time from a host's Open to its answer: the wait for an earlier attempt
// whose Abort still goes on, and the destination's own Open. A host kills a plugin that does
// not answer within a minute, and with it the exports of other projects.
const openTime = 50 * time.Second

// openWithin calls open with a context that ends after limit. The context lives on when
// open returns in time: a destination may have kept it for the attempt.
func openWithin(ctx context.Context, limit time.Duration, open func(context.Context) (LastRun, error)) (LastRun, error) {
	late := fmt.Errorf("the destination has not opened the run within %s", limit)
	opening, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { end(late) })
	defer timer.Stop()
	last, err := open(opening)
	if ctx.Err() == nil && opening.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		err = Retryable(fmt.Errorf("%w: %w", late, err), 0)
	}
	return last, err
}

// claimTarget claims the destination for an attempt and returns the pipeline's last
// committed run.
func (p *project) claimTarget(ctx context.Context, run Run) (LastRun, error) {
	if opener, ok := p.destination.(Opener); ok {
		last, err := opener.Open(ctx, run)
		if err != nil {
			return LastRun{}, err
		}
		return last, p.claim(run)
	}
	status, err := p.status(ctx, run)
	if err != nil {
		return LastRun{}, err
	}
	if status.Fence > run.Fence {
		return LastRun{}, Fenced(fmt.Errorf("fence %d is older than %d, which holds the target", run.Fence, status.Fence))
	}
	if status.State == InDoubt {
		return LastRun{}, Retryable(errors.New("the destination still works on this run"), 0)
	}
	return status.Last, p.claim(run)
}
