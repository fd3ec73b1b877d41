package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// paced returns a pace on a clock that only its waits move.
func paced(rate int64) (p *pace, now *time.Time) {
	at := time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)
	p = &pace{held: new(atomic.Bool), rate: rate, now: func() time.Time { return at }}
	p.wait = func(_ context.Context, d time.Duration) error {
		at = at.Add(d)
		return nil
	}
	return p, &at
}

// Bytes are sent at the rate, whatever the size of blocks; time in which nothing was
// sent is not saved up.
func TestARateIsKept(t *testing.T) {
	t.Parallel()
	p, now := paced(1000)
	began := *now
	send := func(n int) {
		t.Helper()
		if err := p.next(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		send(3000)
	}
	send(0) // when all of it is paid for
	if got := now.Sub(began); got != 30*time.Second {
		t.Errorf("30,000 bytes took %s", got)
	}
	*now = now.Add(time.Hour)
	began = *now
	send(1000)
	send(1000)
	send(0)
	if got := now.Sub(began); got != 2*time.Second {
		t.Errorf("after an hour without rows 2,000 bytes took %s", got)
	}
	p, now = paced(0)
	began = *now
	send(1 << 30)
	send(1 << 30)
	if !now.Equal(began) {
		t.Error("without a rate there are pauses")
	}
}

// A pipeline that is paused stops before the next block, also while it waits for its
// rate.
func TestAPausedPipelineSendsNoFurtherBlock(t *testing.T) {
	t.Parallel()
	p, now := paced(1)
	if err := p.next(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	began, waits := *now, 0
	p.wait = func(_ context.Context, d time.Duration) error {
		*now = now.Add(d)
		if waits++; waits == 3 {
			p.held.Store(true)
		}
		return nil
	}
	if err := p.next(t.Context(), 1); !errors.Is(err, pipeline.ErrPaused) || now.Sub(began) > 3*time.Second {
		t.Errorf("after %s: %v", now.Sub(began), err)
	}
	p.held.Store(false)
	p.wait = func(ctx context.Context, _ time.Duration) error { return context.Canceled }
	if err := p.next(t.Context(), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end of the host: %v", err)
	}
}

// The rate that is shown is that of attempts, and not of the pauses between them.
func TestAttemptsAreMeasured(t *testing.T) {
	t.Parallel()
	p, now := paced(0)
	p.begin(1)
	*now = now.Add(10 * time.Second)
	p.sent(10, 1000)
	p.end()
	*now = now.Add(time.Hour)
	p.begin(2)
	*now = now.Add(10 * time.Second)
	p.sent(30, 3000)
	run, rows, bytes, perSecond := p.measured()
	if run != 2 || rows != 30 || bytes != 3000 || perSecond != 200 {
		t.Errorf("run %d has %d rows, %d bytes; %d bytes per second", run, rows, bytes, perSecond)
	}
}
