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
// projects whose rows the destination does not keep apart. It refuses two pipelines with
// different dates at one place, too, unless both adopt it.
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
	if w.Pipeline == other.Pipeline || !w.target.Meets(other.target) {
		return nil
	}
	common, ok := pipeline.Days{From: w.From, To: w.To}.Common(pipeline.Days{From: other.From, To: other.To})
	if !ok {
		return w.besides(other)
	}
	if w.Destination == other.Destination && w.Project == other.Project {
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

// besides returns a mistake if two pipelines with different dates write to one place, and
// the destination would refuse one of them; nil otherwise. A destination's record of a
// place names one pipeline, and another one enters itself there if it adopts.
func (w writer) besides(other writer) *hcl.Diagnostic {
	same := w.Project == other.Project
	if w.target.URI != other.target.URI || same && w.Adopt && other.Adopt {
		return nil
	}
	next := "a place has one pipeline, whatever the dates are. Give one of them another place, or set adopt = true in both to have them write there side by side."
	if !same {
		next = fmt.Sprintf("the rows of the projects %q and %q would be mixed there. Give one of them a place of its own.", other.Project.Name, w.Project.Name)
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Pipelines share a place", Subject: w.Range.Ptr(),
		Detail: fmt.Sprintf("The pipelines %q (%s:%d) and %q export %s of different dates to one place, %s, through %s and %s; %s",
			other.Name, other.Range.Filename, other.Range.Start.Line, w.Name, w.Stream, w.target.URI, other.Destination.Reference(), w.Destination.Reference(), next),
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
