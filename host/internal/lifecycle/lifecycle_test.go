package lifecycle

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A gate is held by one at a time, and a caller that waits for it can be called away.
func TestAGateCanBeLeft(t *testing.T) {
	t.Parallel()
	g := NewGate()
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, entered := g.TryEnter(); entered {
		t.Error("two are inside")
	}
	away := errors.New("called away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(away)
	if _, err := g.Enter(ctx); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	leave()
	again, entered := g.TryEnter()
	if !entered {
		t.Fatal("the gate is still closed")
	}
	again()
}

// All work of stopping has one deadline, and the last part of it some time at any rate.
func TestAGraceHasOneDeadline(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	g := NewGrace(7*time.Second, 2*time.Second, func() time.Time { return now })
	for _, tt := range []struct{ after, want time.Duration }{
		{0, 7 * time.Second}, {4 * time.Second, 7 * time.Second}, {6 * time.Second, 8 * time.Second}, {time.Minute, 62 * time.Second},
	} {
		begun := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		now = begun.Add(tt.after)
		ctx, cancel := g.Context()
		if until, ok := ctx.Deadline(); !ok || until.Sub(begun) != tt.want {
			t.Errorf("%s after its beginning it ends after %s, want %s", tt.after, until.Sub(begun), tt.want)
		}
		cancel()
	}
}

// A host stops within the ten seconds after which it would be killed, also when the
// sources, then the seals of journals, and then the plugins use all of their time.
func TestPartsThatUseAllOfTheirTimeEndInTime(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	now := begun
	g := NewGrace(StopTime, StopLeast, func() time.Time { return now })
	for i, part := range []func() (context.Context, context.CancelFunc){g.First, g.Context, g.Context} {
		ctx, cancel := part()
		until, _ := ctx.Deadline()
		cancel()
		if until.Sub(now) < StopLeast {
			t.Errorf("part %d has %s", i, until.Sub(now))
		}
		now = until
	}
	if took := now.Sub(begun); took >= 10*time.Second {
		t.Errorf("stopping takes %s", took)
	}
}

// The first error ends all goroutines of a group; errors of their end are kept, and
// the end itself is not an error.
func TestAGroupEndsTogether(t *testing.T) {
	t.Parallel()
	failed, torn := errors.New("the disk is full"), errors.New("could not close")
	g := NewGroup(t.Context())
	g.Go(func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	g.Go(func(ctx context.Context) error {
		<-ctx.Done()
		return torn
	})
	g.Go(func(context.Context) error { return failed })
	err := g.Wait()
	if !errors.Is(err, failed) || !errors.Is(err, torn) || strings.Count(err.Error(), "the disk is full") != 1 {
		t.Errorf("got %v", err)
	}
	select {
	case <-g.Done():
	default:
		t.Error("it is not done")
	}
}

// A group whose context ends has no error.
func TestAGroupThatIsStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	g := NewGroup(ctx)
	g.Go(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err() // and not the signal, which is its cause
	})
	var ended atomic.Int32
	for range 3 {
		g.Go(func(ctx context.Context) error {
			defer ended.Add(1)
			return Wait(ctx, time.Hour)
		})
	}
	cancel(errors.New("terminated"))
	if err := g.Wait(); err != nil || ended.Load() != 3 {
		t.Errorf("%d have ended, %v", ended.Load(), err)
	}
}

// Something that is carried out once is tried again after an error, and never after a
// success.
func TestOnceSucceedsOnce(t *testing.T) {
	t.Parallel()
	o, calls := NewOnce(), 0
	failed := errors.New("failed")
	do := func() error {
		if calls++; calls < 3 {
			return failed
		}
		return nil
	}
	for n, want := range []error{failed, failed, nil, nil, nil} {
		if err := o.Do(t.Context(), do); !errors.Is(err, want) {
			t.Errorf("call %d: %v, want %v", n, err, want)
		}
	}
	if calls != 3 {
		t.Errorf("it was carried out %d times", calls)
	}
}
