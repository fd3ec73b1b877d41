package destination

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// While the plugin of one destination is being configured, which may take
// minutes, pipelines of another destination go on, and a pipeline of the first can
// be stopped.
func TestADestinationThatHangsKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	ds := New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), nil)
	hanging, well := &config.Destination{Type: "s3", Name: "hanging"}, &config.Destination{Type: "s3", Name: "well"}
	project := &config.Project{ID: 7}
	leave, err := ds.destination(hanging).gate.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ds.destination(well).answer(project.ID, nil)

	if d, err := ds.Configured(t.Context(), well, project); err != nil || d.config != well {
		t.Errorf("the other destination: %v, %v", d, err)
	}
	stop := errors.New("the host stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := ds.Configured(ctx, hanging, project); !errors.Is(err, stop) {
		t.Errorf("a pipeline that is stopped while it waits returns %v", err)
	}
}

// An operation that began before a reload starts no plugin for a block that the reload has
// removed: nothing would end it.
func TestARetiredDestinationStartsNoPlugin(t *testing.T) {
	t.Parallel()
	ds := New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), nil)
	used, unused, project := &config.Destination{Type: "s3", Name: "lake"}, &config.Destination{Type: "s3", Name: "other"}, &config.Project{ID: 7}
	ds.destination(used).answer(project.ID, nil)
	ds.Retire(t.Context(), []*config.Destination{used, unused})
	d, err := ds.Configured(t.Context(), used, project)
	if err == nil {
		err = d.Start(t.Context())
	}
	if !errors.Is(err, plugin.ErrStopped) {
		t.Errorf("the used one: %v", err)
	}
	if _, err := ds.Configured(t.Context(), unused, project); !errors.Is(err, plugin.ErrStopped) {
		t.Errorf("the other one: %v", err)
	}
}

// The targets of one project are read while the destination is configured for
// another: the race detector watches.
func TestTargetsAreReadWhileADestinationIsConfigured(t *testing.T) {
	t.Parallel()
	ds := New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), nil)
	d := ds.destination(&config.Destination{Type: "s3", Name: "lake"})
	shop := &config.Pipeline{Project: &config.Project{ID: 7}, Stream: batch.Events}
	d.answer(7, []protocol.Target{{Stream: batch.Events, URI: "s3://lake/7"}})
	var wg sync.WaitGroup
	for id := range int64(100) {
		wg.Go(func() { d.answer(100+id, nil) })
		wg.Go(func() {
			if targets := d.Targets(shop); len(targets) != 1 || targets[0].URI != "s3://lake/7" {
				t.Errorf("targets %v", targets)
			}
		})
	}
	wg.Wait()
}
