package destination

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Set holds the plugins of a configuration's destination blocks. It may be used
// concurrently.
type Set struct {
	open func(typ, name string) Plugin
	log  *slog.Logger

	mu      sync.Mutex
	sources diagnostic.Sources                   // guarded by mu
	all     map[*config.Destination]*Destination // guarded by mu
}

// Plugin is the plugin of one destination block: a process that is kept running. Its
// methods are those of *plugin.Destination.
type Plugin interface {
	export.Destination
	Start(ctx context.Context) error
	Stop(ctx context.Context)
	Description() protocol.Description
	Configure(ctx context.Context, project protocol.Project, config []byte) (protocol.Configured, error)
	Check(ctx context.Context, projectID int64) ([]protocol.CheckResult, error)
	Inventory(ctx context.Context, q protocol.InventoryQuery, yield func(protocol.InventoryItem) error) error
}

// process is a plugin that runs in a process of its own.
type process struct{ *plugin.Destination }

// Export implements export.Destination.
func (p process) Export(ctx context.Context, rejected func([]protocol.RejectedRow) error) (export.Session, error) {
	return p.Destination.Export(ctx, rejected)
}

// New returns the destinations of a configuration. Nothing is started.
func New(c *config.Config, plugins *plugin.Manager, log *slog.Logger) *Set {
	return Open(c, func(typ, name string) Plugin { return process{plugins.Destination(typ, name)} }, log)
}

// Open is New for plugins that open returns, for the type and the name of a block. It
// starts nothing.
func Open(c *config.Config, open func(typ, name string) Plugin, log *slog.Logger) *Set {
	return &Set{open: open, sources: c.Files, log: log, all: map[*config.Destination]*Destination{}}
}

// Destination is a destination block's plugin, with the targets that it
// Answered for each project.
type Destination struct {
	Plugin
	config *config.Destination
	gate   lifecycle.Gate // held while the plugin is configured, which may take minutes

	mu      sync.Mutex
	answers map[int64][]protocol.Target // by project; guarded by mu
}

// Answered returns the targets that the plugin answered for a project. ok is false
// before it was configured for the project.
func (d *Destination) Answered(project int64) (targets []protocol.Target, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	targets, ok = d.answers[project]
	return targets, ok
}

// answer notes the targets that the plugin answered for a project.
func (d *Destination) answer(project int64, targets []protocol.Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[project] = targets
}

// ByZone reports whether the destination's partitions are dates in the
// project's time zone, and not UTC dates.
func (d *Destination) ByZone() bool {
	return d.Description().Capabilities.Partitioning == protocol.ByProjectDate
}

// Configured starts a destination and configures it for a project, once. A
// mistake that the plugin finds in its configuration is a *ConfigurationError;
// warnings are logged.
func (ds *Set) Configured(ctx context.Context, c *config.Destination, p *config.Project) (*Destination, error) {
	d, found, err := ds.Configure(ctx, c, p)
	if err != nil {
		return nil, err
	}
	if found.HasErrors() {
		return nil, &diagnostic.ConfigurationError{Diagnostics: diagnostic.Found{List: found, Sources: ds.texts()}}
	}
	for _, w := range found {
		ds.log.Warn(w.Summary, "destination", c.Reference(), "detail", w.Detail)
	}
	return d, nil
}

// texts returns the files of the configuration.
func (ds *Set) texts() diagnostic.Sources {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.sources
}

// Reload takes over the files of another configuration. A block of it that was not in
// the one before, which a changed block is not, has a plugin of its own.
func (ds *Set) Reload(c *config.Config) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.sources = c.Files
}

// Retire drains and ends the plugins of blocks that a reload has removed or replaced.
// Calls under way are ended when ctx is done. Later calls, of an operation that began
// before the reload, fail and start no plugin.
func (ds *Set) Retire(ctx context.Context, blocks []*config.Destination) {
	var wg sync.WaitGroup
	for _, c := range blocks {
		d := ds.destination(c)
		wg.Go(func() { d.Stop(ctx) })
	}
	wg.Wait()
}

// Asked returns the destination of a block; nil before it was configured for any
// project.
func (ds *Set) Asked(c *config.Destination) *Destination {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.all[c]
}

// destination returns the destination of a block. Nothing is started.
func (ds *Set) destination(c *config.Destination) *Destination {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.all[c]
	if d == nil {
		d = &Destination{
			Plugin: ds.open(c.Type, c.Name), config: c, gate: lifecycle.NewGate(), answers: map[int64][]protocol.Target{},
		}
		ds.all[c] = d
	}
	return d
}

// Configure starts a destination and configures it for a project, once. The
// plugin's diagnostics are returned with the places of the attributes. A plugin
// that hangs or crashes keeps no other destination waiting.
func (ds *Set) Configure(ctx context.Context, c *config.Destination, p *config.Project) (*Destination, diagnostic.Diagnostics, error) {
	d := ds.destination(c)
	if _, ok := d.Answered(p.ID); ok {
		return d, nil, nil
	}
	leave, err := d.gate.Enter(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("configure destination %s: %w", c.Reference(), err)
	}
	defer leave()
	if _, ok := d.Answered(p.ID); ok {
		return d, nil, nil
	}
	answer, err := d.Configure(ctx, protocol.Project{ID: p.ID, Name: p.Name, TimeZone: p.TimeZone.String(), Token: p.Token}, c.JSON)
	if err != nil {
		return nil, nil, fmt.Errorf("configure destination %s: %w", c.Reference(), err)
	}
	var found diagnostic.Diagnostics
	for _, g := range answer.Diagnostics {
		severity := hcl.DiagError
		if g.Severity == protocol.SeverityWarning {
			severity = hcl.DiagWarning
		}
		found = append(found, c.Diagnostic(severity, g.Attribute, g.Summary, g.Detail))
	}
	if !found.HasErrors() {
		d.answer(p.ID, answer.Targets)
	}
	return d, found, nil
}

// Unable returns a diagnostic if a destination does not take the stream of a
// pipeline, otherwise nil.
func (d *Destination) Unable(p *config.Pipeline) *hcl.Diagnostic {
	can, mode, how := d.Description().Capabilities, Mode(p.Stream), "add rows"
	if mode == protocol.Replace {
		how = "replace a set"
	}
	detail := ""
	switch {
	case !slices.Contains(can.Streams, p.Stream):
		detail = fmt.Sprintf("The plugin of %s does not take %s.", p.Destination.Reference(), p.Stream)
	case !slices.Contains(can.Modes, mode):
		detail = fmt.Sprintf("The plugin of %s takes %s, and cannot %s.", p.Destination.Reference(), p.Stream, how)
	default:
		return nil
	}
	at := p.AttributeRange("stream")
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Stream is not taken by the destination", Subject: &at, Context: p.Range.Ptr(),
		Detail: detail + " Choose another destination.",
	}
}

// Targets returns the places that a pipeline writes to.
func (d *Destination) Targets(p *config.Pipeline) []pipeline.Target {
	var targets []pipeline.Target
	answered, _ := d.Answered(p.Project.ID)
	for _, t := range answered {
		if t.Stream == p.Stream {
			targets = append(targets, pipeline.Target{ProjectID: p.Project.ID, Stream: t.Stream, URI: t.URI})
		}
	}
	return targets
}
