package runner

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// slow is a plugin whose destination suits runs every five minutes, and takes none.
type slow struct{ destination.Plugin }

func (slow) Start(context.Context) error { return nil }
func (slow) Description() protocol.Description {
	return protocol.Description{Capabilities: protocol.Capabilities{MinInterval: 5 * time.Minute}}
}

func (slow) Configure(context.Context, protocol.Project, []byte) (protocol.Configured, error) {
	return protocol.Configured{}, nil
}

func (slow) Export(context.Context, func([]protocol.RejectedRow) error) (export.Session, error) {
	return nil, errors.New("it takes no run")
}

// A continuous pipeline without a min_interval of its own runs as often as suits its
// destination, which is known when the plugin was started.
func TestARunWaitsForWhatSuitsTheDestination(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		schedule    pipeline.Schedule
		first, then string // when the next run is due, before the plugin was started and after it
	}{
		{pipeline.Schedule{Cadence: pipeline.Continuous}, "2026-06-10T12:01:00Z", "2026-06-10T12:05:00Z"},
		{pipeline.Schedule{Cadence: pipeline.Continuous, MinInterval: 2 * time.Minute}, "2026-06-10T12:02:00Z", "2026-06-10T12:02:00Z"},
		{pipeline.Schedule{Cadence: pipeline.Hourly, At: pipeline.HourlyAt}, "2026-06-10T12:30:00Z", "2026-06-10T12:30:00Z"},
	} {
		x := newTimed(t, tt.schedule)
		x.o.Destinations = destination.Open(&config.Config{}, func(_, _ string) destination.Plugin { return slow{} }, slog.New(slog.NewTextHandler(io.Discard, nil)))
		x.export()
		x.wantNext("before the plugin was started", tt.first)
		if _, err := x.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.wantNext("after it", tt.then)
	}
}

// A pipeline that takes over the name of another one, with another destination, does not
// wait for what suits the other one's.
func TestAPipelineOfTheSameNameWaitsForItsOwnDestination(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Continuous})
	x.o.Destinations = destination.Open(&config.Config{}, func(_, _ string) destination.Plugin { return slow{} }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	x.export()
	if _, err := x.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.wantNext("at the first destination", "2026-06-10T12:05:00Z")
	if _, err := x.o.Catalog.ForgetPipeline(t.Context(), "events", false, x.now); err != nil {
		t.Fatal(err)
	}
	moved := *x.Config
	moved.Destination = &config.Destination{Type: "localfs", Name: "there"}
	if _, err := x.o.Catalog.RegisterPipeline(t.Context(), moved.Definition(), nil, x.now); err != nil {
		t.Fatal(err)
	}
	before := x.Pipeline
	x.Iterations = Reload(x.runner, []*config.Pipeline{&moved}).Added[0]
	x.registered.Store(true)
	x.now = x.now.Add(time.Second)
	x.export()
	x.wantNext("at the next one", "2026-06-10T12:01:01Z")
	if _, err := before.start(t.Context()); err != nil { // by an attempt that goes on
		t.Fatal(err)
	}
	x.wantNext("after an attempt at the first one", "2026-06-10T12:01:01Z")
	if _, err := x.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.wantNext("after its plugin was started", "2026-06-10T12:05:01Z")
}
