package upkeep_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/upkeep"
)

// A pass with a limit begins no rewrite after it; the next passes do the rest.
func TestAPassEndsAfterItsTime(t *testing.T) {
	w := newWorld(t, 8)
	for range 30 { // each day's files are a rewrite of their own
		w.seal()
		w.seal()
		w.seal()
		w.seal()
		w.now = w.now.AddDate(0, 0, 1)
	}
	minutes := 0
	w.upkeep = upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return []upkeep.Project{{ID: project, Name: "shop", Reader: w.reader}} }, Store: w.store, Catalog: w.catalog, Retention: func() time.Duration { return 300 * 24 * time.Hour },
		Now: w.clock, Log: discard, Wait: func(ctx context.Context, _ time.Duration) error {
			minutes++
			w.now = w.now.Add(time.Minute)
			return ctx.Err()
		},
	})
	if report, err := w.upkeep.Pass(t.Context(), 5*time.Minute); err != nil || report.Rewritten == 0 || minutes != 6 {
		t.Errorf("after %d minutes: %+v, %v", minutes, report, err)
	}
	if _, err := w.upkeep.Pass(t.Context(), 0); err != nil || minutes < 20 {
		t.Errorf("after %d minutes: %v", minutes, err)
	}
	w.check()
}
