package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
)

// consult has plugins check every destination that could be read, without using
// the network, and returns the mistakes that they report. sound is whether the
// configuration has no mistake yet: overlap checks are skipped for one that
// has, because the targets of its pipelines are not known.
func consult(ctx context.Context, c *Config, user *plugin.User, sound bool, known *stored) diagnostic.Diagnostics {
	manager := plugin.NewManager(plugin.Options{Dir: c.Host.PluginDir, CacheDir: cacheDir(), User: user})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		manager.Stop(ctx)
	}()
	v := &validation{config: c, destinations: newDestinations(c, manager, slog.New(slog.DiscardHandler))}
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
	return v.found.list
}

// validation collects the mistakes that plugins report.
type validation struct {
	config       *Config
	destinations *destinations
	found        mistakes
}

// ask has a destination look at its configuration for each project that is
// exported to it.
func (v *validation) ask(ctx context.Context, d *config.Destination) {
	for _, p := range v.projects(d) {
		_, found, err := v.destinations.configure(ctx, d, p)
		if err != nil {
			v.found.add(d.Diagnostic(hcl.DiagError, "", "Destination plugin cannot be used", err.Error()))
			return
		}
		v.found.add(found...)
	}
}

// projects returns the projects that are exported to a destination. Without any
// it returns the first project, or anyProject if none could be read.
func (v *validation) projects(d *config.Destination) []*config.Project {
	var projects []*config.Project
	seen := map[*config.Project]bool{}
	for _, p := range v.config.Pipelines {
		if p.Destination == d && usable(p.Project) && !seen[p.Project] {
			seen[p.Project] = true
			projects = append(projects, p.Project)
		}
	}
	for _, p := range v.config.Projects {
		if len(projects) == 0 && usable(p) {
			projects = append(projects, p)
		}
	}
	if len(projects) == 0 {
		projects = append(projects, &anyProject)
	}
	return projects
}

// anyProject takes the place of a project where none could be read. A plugin needs
// one to look at its configuration; the targets that it returns are not used.
var anyProject = config.Project{ID: 1, Name: "unknown", TimeZone: time.UTC}

// usable reports whether enough of a project could be read.
func usable(p *config.Project) bool { return p != nil && p.ID > 0 && p.TimeZone != nil }

// mistakes is a list of diagnostics without duplicates: a destination reports
// the same ones for each of its projects.
type mistakes struct{ list diagnostic.Diagnostics }

func (m *mistakes) add(found ...*hcl.Diagnostic) {
	for _, d := range found {
		known := slices.ContainsFunc(m.list, func(k *hcl.Diagnostic) bool {
			return k.Summary == d.Summary && k.Detail == d.Detail && *k.Subject == *d.Subject
		})
		if !known {
			m.list = append(m.list, d)
		}
	}
}

// refuseStreams refuses pipelines whose destination does not take their stream.
func (v *validation) refuseStreams() {
	for _, p := range v.config.Pipelines {
		d := v.destinations.all[p.Destination]
		if d == nil || !usable(p.Project) {
			continue
		}
		if _, ok := d.answered(p.Project.ID); !ok {
			continue
		}
		if mistake := d.unable(p); mistake != nil {
			v.found.add(mistake)
		}
	}
}

// refuseOverlaps refuses two pipelines that would write the same dates of a
// stream to one place by way of two destination blocks.
func (v *validation) refuseOverlaps() {
	writers := map[pipeline.Target][]*config.Pipeline{}
	for _, p := range v.config.Pipelines {
		d := v.destinations.all[p.Destination]
		if d == nil || !usable(p.Project) {
			continue
		}
		for _, t := range d.targetsOf(p) {
			for _, q := range writers[t] {
				if q.Destination != p.Destination && p.From <= q.To && q.From <= p.To {
					v.found.add(overlap(p, q, t.URI))
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
		if d := v.destinations.all[p.Destination]; d != nil && !v.found.list.HasErrors() {
			if mistake := known.compareTargets(p, d.targetsOf(p)); mistake != nil {
				v.found.add(mistake)
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

// refused turns the catalog's refusal of a pipeline into a mistake in the
// configuration; nil for another error.
func refused(p *config.Pipeline, err error) *hcl.Diagnostic {
	var changed *pipeline.ChangedError
	var taken *catalog.TargetTakenError
	switch {
	case errors.As(err, &changed):
		at := p.AttributeRange(changed.Attribute)
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Fixed since the pipeline was registered", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("Pipeline %q was registered with %s = %s, and the configuration says %s. Project, stream, destination and dates are fixed "+
				"since then: write the registered value again, or give the pipeline another name, which exports from its own beginning.",
				p.Name, changed.Attribute, changed.Was, changed.Is),
		}
	case errors.As(err, &taken):
		at := p.AttributeRange("destination")
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Target belongs to another pipeline", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("%s. That pipeline is registered in this data directory, whether or not it is still configured, "+
				"and each row would be there twice. Choose another place, or other dates. "+
				"adopt = true also exports these dates to the place, next to the rows that are there.", upperFirst(taken.Error())),
		}
	}
	return nil
}

// upperFirst makes an error the beginning of a sentence.
func upperFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
