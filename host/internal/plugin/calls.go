package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Configure hands over the configuration for one project, as JSON with defaults
// applied. Every mistake is in the answer, with the attribute it is about. The
// values of sensitive attributes are kept out of logs and errors from then on.
// A configuration without mistakes is told again to a plugin that is started
// again. It must not be called while an export of the project is open.
func (d *Destination) Configure(ctx context.Context, project protocol.Project, config []byte) (protocol.Configured, error) {
	p, err := d.running(ctx)
	if err != nil {
		return protocol.Configured{}, err
	}
	c := configuration{project: project, json: slices.Clone(config)}
	answer, err := d.configure(ctx, p, c)
	if err != nil || firstMistake(answer) != nil {
		return answer, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.configs[project.ID]; !known {
		d.order = append(d.order, project.ID)
	}
	d.configs[project.ID] = c
	return answer, nil
}

func (d *Destination) configure(ctx context.Context, p *process, c configuration) (protocol.Configured, error) {
	d.red.add(secrets(d.Description().Schema, c.json)...)
	spec := callSpec{"configure", p.timeouts.Configure, true}
	answer, err := call(ctx, p, spec, func(ctx context.Context) (protocol.Configured, error) {
		return p.rpc.Configure(ctx, c.project, d.name, c.json)
	})
	for i := range answer.Diagnostics {
		g := &answer.Diagnostics[i]
		g.Summary, g.Detail = d.red.clean(g.Summary), d.red.clean(g.Detail)
	}
	return answer, err
}

// secrets are all strings in the values of sensitive attributes.
func secrets(s schema.Schema, config []byte) []string {
	var values map[string]any
	if json.Unmarshal(config, &values) != nil {
		return nil
	}
	var found []string
	for _, a := range s.Attributes {
		if a.Sensitive {
			found = appendStrings(found, values[a.Name])
		}
	}
	return found
}

func appendStrings(found []string, v any) []string {
	switch v := v.(type) {
	case string:
		return append(found, v)
	case []any:
		for _, e := range v {
			found = appendStrings(found, e)
		}
	case map[string]any:
		for _, e := range v {
			found = appendStrings(found, e)
		}
	}
	return found
}

// firstMistake is the first diagnostic that is an error.
func firstMistake(c protocol.Configured) error {
	for _, g := range c.Diagnostics {
		if g.Severity == protocol.SeverityError {
			text := g.Summary
			if g.Detail != "" {
				text += ": " + g.Detail
			}
			return &protocol.Error{Class: protocol.Configuration, Hint: g.Detail, Err: errors.New(text)}
		}
	}
	return nil
}

// Setup returns the steps that prepare the service for a destination. The error
// for a plugin without setup text is protocol.ErrNoSetup. Values of sensitive
// attributes are not passed to the plugin: the request counts them as unknown.
func (d *Destination) Setup(ctx context.Context, r protocol.SetupRequest) (protocol.SetupSteps, error) {
	p, err := d.running(ctx)
	if err != nil {
		return protocol.SetupSteps{}, err
	}
	if r, err = withoutSecrets(d.Description().Schema, r); err != nil {
		return protocol.SetupSteps{}, err
	}
	r.Destination = d.name
	return call(ctx, p, callSpec{"setup", p.timeouts.Configure, false}, func(ctx context.Context) (protocol.SetupSteps, error) {
		return p.rpc.Setup(ctx, r)
	})
}

// withoutSecrets moves the sensitive attributes of a request's configuration to
// those that are unknown.
func withoutSecrets(s schema.Schema, r protocol.SetupRequest) (protocol.SetupRequest, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(r.Config, &values); err != nil {
		return r, fmt.Errorf("read the configuration: %w", err)
	}
	for _, a := range s.Attributes {
		if _, set := values[a.Name]; set && a.Sensitive {
			delete(values, a.Name)
			r.Unknown = append(r.Unknown, a.Name)
		}
	}
	config, err := json.Marshal(values)
	if err != nil {
		return r, fmt.Errorf("write the configuration: %w", err)
	}
	r.Config = config
	return r, nil
}

// Check tries the permissions and resources that an export of the project needs.
func (d *Destination) Check(ctx context.Context, projectID int64) ([]protocol.CheckResult, error) {
	p, err := d.running(ctx)
	if err != nil {
		return nil, err
	}
	spec := callSpec{"check", p.timeouts.Check, false}
	results, err := call(ctx, p, spec, func(ctx context.Context) ([]protocol.CheckResult, error) {
		return p.rpc.Check(ctx, projectID)
	})
	for i := range results {
		results[i].Action, results[i].Detail = d.red.clean(results[i].Action), d.red.clean(results[i].Detail)
	}
	return results, err
}

// Status asks the destination for the state of a run: committed, absent or in
// doubt.
func (d *Destination) Status(ctx context.Context, run protocol.Run) (protocol.Status, error) {
	p, err := d.running(ctx)
	if err != nil {
		return protocol.Status{}, err
	}
	spec := callSpec{"status", p.timeouts.Status, false}
	status, err := call(ctx, p, spec, func(ctx context.Context) (protocol.Status, error) { return p.rpc.Status(ctx, run) })
	if status.Receipt != nil {
		d.red.cleanReceipt(status.Receipt)
	}
	return status, err
}

// Inventory calls yield for each entry of a pipeline's inventory.
func (d *Destination) Inventory(ctx context.Context, q protocol.InventoryQuery, yield func(protocol.InventoryItem) error) error {
	p, err := d.running(ctx)
	if err != nil {
		return err
	}
	w := watchProgress(ctx, p, "inventory")
	defer w.stop()
	err = p.rpc.Inventory(w.ctx, q, func(item protocol.InventoryItem) error {
		w.within(p.timeouts.Progress)
		item.Object, item.Problem = d.red.clean(item.Object), d.red.clean(item.Problem)
		return yield(item)
	})
	if err != nil {
		return p.explain(ctx, "inventory", err)
	}
	return nil
}

// Erase removes the rows of distinct ids from the exported data of run's pipeline
// and stream. ids is called until it returns io.EOF; the time it takes does not
// count towards the deadline.
func (d *Destination) Erase(ctx context.Context, run protocol.Run, ids func() ([]string, error)) (protocol.EraseResult, error) {
	p, err := d.running(ctx)
	if err != nil {
		return protocol.EraseResult{}, err
	}
	w := watchProgress(ctx, p, "erase")
	defer w.stop()
	result, err := p.rpc.Erase(w.ctx, run, func() ([]string, error) {
		w.pause()
		some, err := ids()
		if errors.Is(err, io.EOF) {
			w.within(p.timeouts.Erase)
		} else {
			w.within(p.timeouts.Progress)
		}
		return some, err
	})
	if err != nil {
		return protocol.EraseResult{}, p.explain(ctx, "erase", err)
	}
	return result, nil
}

// progress ends a call when nothing has happened in it for too long.
type progress struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func watchProgress(ctx context.Context, p *process, name string) *progress {
	limit := p.timeouts.Progress
	ctx, cancel := context.WithCancelCause(noDeadline{ctx})
	late := &DeadlineError{Plugin: p.name, During: "a step of " + name, After: limit}
	return &progress{ctx: ctx, cancel: cancel, timer: time.AfterFunc(limit, func() { cancel(late) })}
}

func (w *progress) within(d time.Duration) { w.timer.Reset(d) }
func (w *progress) pause()                 { w.timer.Stop() }

func (w *progress) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
