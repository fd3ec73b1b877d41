package validate

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
)

// consult has plugins check every destination that could be read, without using
// the network, and returns the mistakes that they report. sound is whether the
// configuration has no mistake yet: overlap checks are skipped for one that
// has, because the targets of its pipelines are not known.
func consult(ctx context.Context, c *config.Config, user *plugin.User, sound bool, known *stored) diagnostic.Diagnostics {
	manager := plugin.NewManager(plugin.Options{Dir: c.Host.PluginDir, CacheDir: plugin.UserCacheDir(), User: user})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lifecycle.StopTime)
		defer cancel()
		manager.Stop(ctx)
	}()
	v := &validation{config: c, destinations: destination.New(c, manager, slog.New(slog.DiscardHandler))}
	for _, d := range c.Destinations {
		if d.Complete {
			v.ask(ctx, d)
		}
	}
	if sound {
		v.refuseStreams()
		v.refuseOverlaps()
		v.refuseTaken(known)
	}
	return v.found.List
}

// validation collects the mistakes that plugins report.
type validation struct {
	config       *config.Config
	destinations *destination.Set
	found        diagnostic.Mistakes
}

// ask has a destination look at its configuration for each project that is
// exported to it.
func (v *validation) ask(ctx context.Context, d *config.Destination) {
	for _, p := range destination.Projects(v.config, d) {
		_, found, err := v.destinations.Configure(ctx, d, p)
		if err != nil {
			v.found.Add(d.Diagnostic(hcl.DiagError, "", "Destination plugin cannot be used", err.Error()))
			return
		}
		v.found.Add(found...)
	}
}

// refuseStreams refuses pipelines whose destination does not take their stream.
func (v *validation) refuseStreams() {
	for _, p := range v.config.Pipelines {
		d := v.destinations.Asked(p.Destination)
		if d == nil || !destination.Usable(p.Project) {
			continue
		}
		if _, ok := d.Answered(p.Project.ID); !ok {
			continue
		}
		if mistake := d.Unable(p); mistake != nil {
			v.found.Add(mistake)
		}
	}
}

// refuseOverlaps refuses two pipelines that would write the same dates of a
// stream to one place by way of two destination blocks.
func (v *validation) refuseOverlaps() {
	writers := map[pipeline.Target][]*config.Pipeline{}
	for _, p := range v.config.Pipelines {
		d := v.destinations.Asked(p.Destination)
		if d == nil || !destination.Usable(p.Project) {
			continue
		}
		for _, t := range d.Targets(p) {
			for _, q := range writers[t] {
				if q.Destination != p.Destination && p.From <= q.To && q.From <= p.To {
					v.found.Add(overlap(p, q, t.URI))
				}
			}
			writers[t] = append(writers[t], p)
		}
	}
}

// refuseTaken refuses pipelines whose targets hold the same dates of another
// pipeline that is registered, whether or not it is still configured.
func (v *validation) refuseTaken(known *stored) {
	for _, p := range v.config.Pipelines {
		if d := v.destinations.Asked(p.Destination); d != nil && !v.found.List.HasErrors() {
			if mistake := known.compareTargets(p, d.Targets(p)); mistake != nil {
				v.found.Add(mistake)
			}
		}
	}
}

func overlap(p, q *config.Pipeline, uri string) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Pipelines overlap", Subject: p.Range.Ptr(),
		Detail: fmt.Sprintf("The pipelines %q (%s:%d) and %q export the same dates of %s to one place, %s, through %s and %s: each row would be there twice.",
			q.Name, q.Range.Filename, q.Range.Start.Line, p.Name, p.Stream, uri, q.Destination.Reference(), p.Destination.Reference()),
	}
}
