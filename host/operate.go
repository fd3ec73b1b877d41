package host

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Operate opens the data directory of a configuration for a command, or, when
// a host is serving it, speaks with that host. A data directory that is missing
// is made, unless CheckDataDir is called before.
func Operate(ctx context.Context, c *Config) (operation.Operations, error) {
	held, r, err := lockOrDial(ctx, c, dirOf(c).TryLock)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r, nil
	}
	return openLocked(ctx, c, Options{}, held)
}

// Serving reports whether a host serves a configuration's data directory.
func Serving(ctx context.Context, c *Config) bool {
	r := &remote{api.Dial(dirOf(c).Path(datadir.SocketFile))}
	defer r.client.Close()
	return r.call(ctx, "ping", nil, nil) == nil
}

// named is the parameter of operations on one pipeline or destination.
type named struct {
	Pipeline    string `json:"pipeline,omitempty"`
	Destination string `json:"destination,omitempty"` // "s3.lake"
	Number      int64  `json:"number,omitempty"`
	Paused      bool   `json:"paused,omitempty"`
	AllowShrink bool   `json:"allow_shrink,omitempty"`
	Resend      bool   `json:"resend,omitempty"`
}

// dated is the parameter of operations on some dates of one source.
type dated struct {
	Source string `json:"source"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
}

// handlers returns the operations of a serving host by name.
func (h *Host) handlers() map[string]api.Operation {
	return map[string]api.Operation{
		"ping":             func(context.Context, json.RawMessage) (any, error) { return version, nil },
		"status":           withoutParams(h.Status),
		"plan":             withoutParams(h.Plan),
		"pipelines":        withoutParams(h.Pipelines),
		"journal/segments": withoutParams(h.Segments),
		"journal/verify":   withoutParams(h.VerifyJournal),
		"destinations/check": withParams(func(ctx context.Context, n named) (any, error) {
			return h.CheckDestinations(ctx, n.Destination)
		}),
		"sources/check": withParams(func(ctx context.Context, d dated) (any, error) {
			return h.CheckSource(ctx, d.Source, d.From, d.To)
		}),
		"sources/pull": withParams(func(ctx context.Context, d dated) (any, error) {
			return h.PullSource(ctx, d.Source, d.From, d.To)
		}),
		"pipelines/pause": withParams(func(ctx context.Context, n named) (any, error) {
			return h.PausePipeline(ctx, n.Pipeline, n.Paused)
		}),
		"pipelines/run": withParams(func(ctx context.Context, n named) (any, error) {
			return h.RunPipeline(ctx, n.Pipeline, n.AllowShrink)
		}),
		"pipelines/recover": withParams(func(ctx context.Context, n named) (any, error) {
			return h.RecoverPipeline(ctx, n.Pipeline, n.Resend)
		}),
		"pipelines/verify": withParams(func(ctx context.Context, r operation.VerifyRequest) (any, error) {
			return h.VerifyPipeline(ctx, r)
		}),
		"runs":       withParams(func(ctx context.Context, n named) (any, error) { return h.Runs(ctx, n.Pipeline) }),
		"runs/retry": withParams(func(ctx context.Context, n named) (any, error) { return nil, h.RetryRun(ctx, n.Pipeline, n.Number) }),
		"identity/failures": withParams(func(ctx context.Context, f operation.IdentityFilter) (any, error) {
			return h.IdentityFailures(ctx, f)
		}),
		"quarantine": withParams(func(ctx context.Context, f quarantine.Filter) (any, error) { return h.Quarantine(ctx, f) }),
		"quarantine/replay": withParams(func(ctx context.Context, f quarantine.Filter) (any, error) {
			return h.ReplayQuarantine(ctx, f)
		}),
		"quarantine/drop": withParams(func(ctx context.Context, f quarantine.Filter) (any, error) {
			return h.DropQuarantine(ctx, f)
		}),
	}
}

// withoutParams adapts an operation that has no parameters.
func withoutParams[R any](do func(context.Context) (R, error)) api.Operation {
	return func(ctx context.Context, _ json.RawMessage) (any, error) { return do(ctx) }
}

// withParams adapts an operation that has parameters.
func withParams[P any](do func(context.Context, P) (any, error)) api.Operation {
	return func(ctx context.Context, params json.RawMessage) (any, error) {
		var p P
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		return do(ctx, p)
	}
}

// remote is a serving host.
type remote struct{ client *api.Client }

func (r *remote) call(ctx context.Context, operation string, params, result any) error {
	return r.client.Call(ctx, operation, params, result)
}

// ask calls an operation for its result.
func ask[R any](ctx context.Context, r *remote, operation string, params any) (R, error) {
	var result R
	err := r.call(ctx, operation, params, &result)
	return result, err
}

func (r *remote) Status(ctx context.Context) (*operation.Status, error) {
	return ask[*operation.Status](ctx, r, "status", nil)
}

func (r *remote) Plan(ctx context.Context) ([]operation.PlannedRun, error) {
	return ask[[]operation.PlannedRun](ctx, r, "plan", nil)
}

func (r *remote) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	return ask[[]operation.PipelineStatus](ctx, r, "pipelines", nil)
}

func (r *remote) PausePipeline(ctx context.Context, name string, paused bool) (*operation.Pause, error) {
	return ask[*operation.Pause](ctx, r, "pipelines/pause", named{Pipeline: name, Paused: paused})
}

func (r *remote) RunPipeline(ctx context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	return ask[*operation.PipelineSummary](ctx, r, "pipelines/run", named{Pipeline: name, AllowShrink: allowShrink})
}

func (r *remote) RecoverPipeline(ctx context.Context, name string, resend bool) (*operation.Recovery, error) {
	return ask[*operation.Recovery](ctx, r, "pipelines/recover", named{Pipeline: name, Resend: resend})
}

func (r *remote) VerifyPipeline(ctx context.Context, request operation.VerifyRequest) (*operation.Verification, error) {
	return ask[*operation.Verification](ctx, r, "pipelines/verify", request)
}

func (r *remote) Runs(ctx context.Context, name string) ([]operation.RunStatus, error) {
	return ask[[]operation.RunStatus](ctx, r, "runs", named{Pipeline: name})
}

func (r *remote) RetryRun(ctx context.Context, name string, number int64) error {
	return r.call(ctx, "runs/retry", named{Pipeline: name, Number: number}, nil)
}

func (r *remote) CheckDestinations(ctx context.Context, name string) ([]operation.DestinationCheck, error) {
	return ask[[]operation.DestinationCheck](ctx, r, "destinations/check", named{Destination: name})
}

func (r *remote) CheckSource(ctx context.Context, name, from, to string) (*operation.SourceCheck, error) {
	return ask[*operation.SourceCheck](ctx, r, "sources/check", dated{name, from, to})
}

func (r *remote) PullSource(ctx context.Context, name, from, to string) (*operation.SourceSummary, error) {
	return ask[*operation.SourceSummary](ctx, r, "sources/pull", dated{name, from, to})
}

func (r *remote) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	return ask[[]operation.SegmentStatus](ctx, r, "journal/segments", nil)
}

func (r *remote) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	return ask[*operation.JournalReport](ctx, r, "journal/verify", nil)
}

func (r *remote) Quarantine(ctx context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	return ask[*operation.QuarantineList](ctx, r, "quarantine", f)
}

func (r *remote) ReplayQuarantine(ctx context.Context, f quarantine.Filter) (*operation.ReplayReport, error) {
	return ask[*operation.ReplayReport](ctx, r, "quarantine/replay", f)
}

func (r *remote) DropQuarantine(ctx context.Context, f quarantine.Filter) (*operation.DropReport, error) {
	return ask[*operation.DropReport](ctx, r, "quarantine/drop", f)
}

func (r *remote) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	return ask[*operation.IdentityFailures](ctx, r, "identity/failures", f)
}

func (r *remote) Close() error {
	r.client.Close()
	return nil
}
