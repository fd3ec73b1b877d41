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

// refuseOverlaps refuses two pipelines that would write the same dates of a stream to
// one place, or to a place in the other's: by way of two destination blocks, or for two
// projects whose rows the destination does not keep apart.
func (v *validation) refuseOverlaps() {
	var writers []writer
	for _, p := range v.config.Pipelines {
		d := v.destinations.Asked(p.Destination)
		if d == nil || !destination.Usable(p.Project) {
			continue
		}
		for _, t := range d.Targets(p) {
			w := writer{p, t}
			for _, other := range writers {
				if mistake := w.overlap(other); mistake != nil {
					v.found.Add(mistake)
				}
			}
			writers = append(writers, w)
		}
	}
}

// writer is a pipeline with one of its targets.
type writer struct {
	*config.Pipeline
	target pipeline.Target
}

// overlap returns a mistake if two pipelines write the same dates to one place; nil
// otherwise, and for pipelines that package config refuses already.
func (w writer) overlap(other writer) *hcl.Diagnostic {
	if w.Pipeline == other.Pipeline || w.Destination == other.Destination && w.Project == other.Project || !w.target.Meets(other.target) {
		return nil
	}
	common, ok := pipeline.Days{From: w.From, To: w.To}.Common(pipeline.Days{From: other.From, To: other.To})
	if !ok {
		return nil
	}
	place := w.target.URI
	if other.target.URI != place {
		place = fmt.Sprintf("%s lies in %s, or the other way round", place, other.target.URI)
	}
	days := fmt.Sprintf(" with the dates %s in common", common)
	if pipeline.Replaced(w.Stream) {
		days = ""
	}
	next := "each row would be there twice. Give one of them another place, or other dates."
	if w.Project != other.Project {
		next = fmt.Sprintf("the rows of the projects %q and %q would be mixed there. Give one of them a place of its own.", other.Project.Name, w.Project.Name)
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Pipelines overlap", Subject: w.Range.Ptr(),
		Detail: fmt.Sprintf("The pipelines %q (%s:%d) and %q export %s to one place%s, %s, through %s and %s; %s",
			other.Name, other.Range.Filename, other.Range.Start.Line, w.Name, w.Stream, days, place, other.Destination.Reference(), w.Destination.Reference(), next),
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
