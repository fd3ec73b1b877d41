package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// repeated runs a repeater on a clock of its own, until steps is used up. Each
// step is the error of one attempt. It returns the pauses between attempts, and
// the attempts that were noted.
func repeated(t *testing.T, steps []error) (pauses []time.Duration, noted []*attempt) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := &repeater{
		due: func(context.Context) (bool, error) { return true, nil },
		step: func(context.Context) (time.Duration, error) {
			err := steps[0]
			steps = steps[1:]
			return lookEvery, err
		},
		note: func(a *attempt) { noted = append(noted, a) },
		now:  func() time.Time { return now },
		wait: func(ctx context.Context, d time.Duration) error {
			pauses = append(pauses, d)
			now = now.Add(d)
			if len(steps) == 0 {
				cancel()
			}
			return ctx.Err()
		},
		log: slog.New(slog.DiscardHandler),
	}
	r.run(ctx)
	return pauses[1:], noted // the first is before the first attempt
}

// Pauses grow while a pipeline fails, up to a limit, and begin again after a
// success. The next attempt is noted when it really comes.
func TestARepeatersPausesGrow(t *testing.T) {
	t.Parallel()
	steps := make([]error, 14)
	for i := range steps {
		steps[i] = syscall.EIO
	}
	steps[12] = nil
	pauses, noted := repeated(t, steps)
	longest := retryFirst
	var at time.Time
	for i, pause := range pauses {
		if i == 12 {
			if noted[i] != nil || pause != lookEvery {
				t.Errorf("after a success: noted %+v, a pause of %s", noted[i], pause)
			}
			longest = retryFirst
			continue
		}
		if pause < longest/2 || pause > longest {
			t.Errorf("pause %d is %s, want %s to %s", i, pause, longest/2, longest)
		}
		if i > 0 && noted[i] != nil && noted[i-1] != nil {
			if got := noted[i].next.Sub(at); got != pause {
				t.Errorf("attempt %d is noted %s after the one before, and comes after %s", i, got, pause)
			}
		}
		if noted[i] == nil || !errors.Is(noted[i].err, syscall.EIO) {
			t.Fatalf("attempt %d is noted as %+v", i, noted[i])
		}
		at = noted[i].next
		longest = min(2*longest, retryLimit)
	}
}

// A destination's own pause is kept, and is the least.
func TestARepeaterWaitsAsLongAsAsked(t *testing.T) {
	t.Parallel()
	asked := &protocol.Error{Class: protocol.Retryable, RetryAfter: time.Hour, Err: syscall.EAGAIN}
	pauses, _ := repeated(t, []error{asked, syscall.EIO})
	if pauses[0] != time.Hour || pauses[1] > 2*retryFirst {
		t.Errorf("pauses of %s", pauses)
	}
}

// A run that failed for good is not tried again, and no time is promised. A permanent
// error without such a run is looked for again, and the log says so.
func TestARepeaterPromisesOnlyWhatItDoes(t *testing.T) {
	t.Parallel()
	permanent := &protocol.Error{Class: protocol.Configuration, Err: syscall.EACCES}
	for _, fails := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		var said bytes.Buffer
		var noted []*attempt
		attempts, waits := 0, 0
		r := &repeater{
			due:  func(context.Context) (bool, error) { return attempts == 0 || !fails, nil },
			step: func(context.Context) (time.Duration, error) { attempts++; return 0, permanent },
			note: func(a *attempt) { noted = append(noted, a) },
			now:  time.Now,
			wait: func(ctx context.Context, _ time.Duration) error {
				if waits++; waits == 4 {
					cancel()
				}
				return ctx.Err()
			},
			log: slog.New(slog.NewTextHandler(&said, nil)),
		}
		r.run(ctx)
		cancel()
		want := map[bool]int{true: 1, false: 3}[fails]
		if attempts != want || len(noted) != want {
			t.Fatalf("run failed: %v: %d attempts, %d noted, want %d", fails, attempts, len(noted), want)
		}
		if promised := !noted[0].next.IsZero(); promised == fails {
			t.Errorf("run failed: %v: another attempt is promised: %v", fails, promised)
		}
		if person := strings.Contains(said.String(), "waits for a person"); person != fails {
			t.Errorf("run failed: %v: it says %s", fails, said.String())
		}
	}
}

// A host that is stopped while it registers pipelines has no error: the call that was
// cut may return anything.
func TestStoppingWhilePipelinesAreRegisteredIsNoError(t *testing.T) {
	t.Parallel()
	r, p := folding(t)
	o := *r.o
	o.Destinations = destination.New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), o.Log)
	r = New(o, []*config.Pipeline{{
		Name: "events", Project: p.Config, Destination: &config.Destination{Type: "localfs", Name: "here"},
	}})
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("terminated"))
	if err := r.Serve(ctx); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
