package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// supervisor serves the sources of a host in one group, each until it is retired or the
// group ends. Two sources of one name follow one another.
type supervisor struct {
	mu    sync.Mutex
	group *lifecycle.Group         // nil: the host does not serve
	ends  map[string]chan struct{} // by name: closed when the latest source of the name has ended
}

// serve begins to serve in a group.
func (s *supervisor) serve(g *lifecycle.Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group, s.ends = g, map[string]chan struct{}{}
}

// begin serves a source, once the one of its name before has ended, and then calls
// ended. The caller is itself a goroutine of the group.
func (s *supervisor) begin(x Source, ended func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, end := s.ends[x.Name()], make(chan struct{})
	s.ends[x.Name()] = end
	s.group.Go(func(ctx context.Context) error {
		defer close(end)
		if before != nil {
			<-before
		}
		err := x.Serve(ctx)
		ended()
		return err
	})
}

// run runs something that ends with the group. The caller is a goroutine of the group.
func (s *supervisor) run(do func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group.Go(do)
}

// endOf returns a channel that is closed when the latest source of a name has ended; nil:
// there was none.
func (s *supervisor) endOf(name string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[name]
}

// endPatience is how long a reload waits for the end of a source that an earlier one has
// removed.
const endPatience = 10 * time.Second

// errEnding refuses a source whose namesake has not ended.
var errEnding = errors.New("it was removed by an earlier reload and has not ended yet: reload again when the log says that it has ended or left")

// awaitEnd returns when no source of a name runs any more.
func (s *supervisor) awaitEnd(ctx context.Context, name string, wait func(context.Context, time.Duration) error) error {
	end := s.endOf(name)
	if end == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- wait(ctx, endPatience) }()
	select {
	case <-end:
		cancel()
		<-over
		return nil
	case err := <-over:
		if err == nil {
			err = errEnding
		}
		return fmt.Errorf("source %s: %w", name, err)
	}
}

// retirement tells a source that its block is gone, or replaced.
type retirement struct {
	once sync.Once
	told chan struct{}
}

func newRetirement() *retirement { return &retirement{told: make(chan struct{})} }

// Retire implements Source.
func (r *retirement) Retire() { r.once.Do(func() { close(r.told) }) }

func (r *retirement) isTold() bool { return isClosed(r.told) }

// isClosed reports whether a channel that nothing is sent to is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// until returns a context that ends with ctx or when the source is retired. The caller
// calls end.
func (r *retirement) until(ctx context.Context) (limited context.Context, end func()) {
	return untilClosed(ctx, r.told)
}

// untilClosed returns a context that ends with ctx or when told is closed. The caller
// calls end.
func untilClosed(ctx context.Context, told <-chan struct{}) (limited context.Context, end func()) {
	limited, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-told:
			cancel()
		case <-limited.Done():
		}
	}()
	return limited, func() {
		cancel()
		<-ended
	}
}
