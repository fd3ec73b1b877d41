package runner

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/project"
)

// waitForever is a Wait that ends with its context.
func waitForever(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// A reload takes over the pipelines whose block is the same. One that replaces another
// has its gate, so that their attempts exclude each other, and the one before begins no
// other attempt.
func TestAReloadKeepsPipelinesThatAreTheSame(t *testing.T) {
	shop := &config.Project{ID: 1}
	same, changed, gone := &config.Pipeline{Name: "same", Project: shop}, &config.Pipeline{Name: "changed", Project: shop}, &config.Pipeline{Name: "gone", Project: shop}
	r := New(Options{Projects: project.New(project.Options{}, nil), Log: slog.New(slog.DiscardHandler), Wait: waitForever}, []*config.Pipeline{same, changed, gone})
	before := r.All()
	leave, err := before[1].active.Enter(t.Context()) // an attempt of the pipeline that changes
	if err != nil {
		t.Fatal(err)
	}
	c := Reload(r, []*config.Pipeline{same, {Name: "changed", Project: shop, Paused: true}, {Name: "new", Project: shop}})
	after := r.All()
	if after[0] != before[0] || after[0].retired.Err() != nil {
		t.Error("the pipeline that is the same was replaced")
	}
	if after[1] == before[1] || after[1].steps != before[1].steps || after[1].retired.Err() != nil {
		t.Error("the changed pipeline was not replaced, or has another gate")
	}
	if r.ByName("gone") != nil || len(c.Gone) != 2 || len(c.Added) != 2 || c.Added[0].Pipeline != after[1] || c.Added[1].Pipeline != after[2] {
		t.Errorf("%q are gone, and %d added", c.Gone, len(c.Added))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Settle(ended); err == nil {
		t.Error("it has settled while an attempt runs")
	}
	leave()
	if err := c.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	// The attempt of a pipeline that is gone excludes those of one that comes again with its
	// name, and an operator's pause reaches it.
	Reload(r, []*config.Pipeline{same, {Name: "gone", Project: shop}})
	if again := r.ByName("gone"); again.steps != before[2].steps || again.shared != before[2].shared {
		t.Error("a pipeline that came again has another gate")
	}
	r.Hold("changed", true)
	if !before[1].held.Load() || before[2].held.Load() {
		t.Error("the pause does not reach the attempt of the pipeline that is gone")
	}
	leave, err = Exclude(t.Context(), r, "gone")
	if err != nil || !r.Busy() {
		t.Errorf("steps are not excluded: %v", err)
	}
	if _, err := before[2].step(ended, time.Time{}, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a step that is excluded: %v", err)
	}
	leave()
	for _, p := range before[1:] {
		if _, err := p.step(t.Context(), time.Time{}, false); !errors.Is(err, errReloaded) {
			t.Errorf("%s: a step ended with %v", p.Config.Name, err)
		}
	}
}

// The running attempt of a pipeline that is retired is cut after retireTime, and not
// before.
func TestARetiredPipelineEndsAfterItsAttempt(t *testing.T) {
	waited, pass := make(chan time.Duration, 1), make(chan struct{})
	r := New(Options{Projects: project.New(project.Options{}, nil), Log: slog.New(slog.DiscardHandler), Wait: func(ctx context.Context, d time.Duration) error {
		waited <- d
		<-pass
		return nil
	}}, []*config.Pipeline{{Name: "events", Project: &config.Project{ID: 1}}})
	p := r.All()[0]
	attempt, end := untilRetired(t.Context(), p)
	defer end()
	p.retire()
	if d := <-waited; d != retireTime || attempt.Err() != nil {
		t.Errorf("the attempt has %s, and its context %v", d, attempt.Err())
	}
	close(pass)
	<-attempt.Done()
	if cause := context.Cause(attempt); !errors.Is(cause, errReloaded) {
		t.Errorf("the attempt was ended by %v", cause)
	}
}
