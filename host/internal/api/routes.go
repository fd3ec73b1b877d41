package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// named is the parameter of operations on one pipeline or destination.
type named struct {
	Pipeline    string `json:"pipeline,omitempty"`
	Destination string `json:"destination,omitempty"` // "s3.lake"
	Number      int64  `json:"number,omitempty"`
	Paused      bool   `json:"paused,omitempty"`
	AllowShrink bool   `json:"allow_shrink,omitempty"`
	Resend      bool   `json:"resend,omitempty"`
	Emptied     bool   `json:"emptied,omitempty"`
}

// dated is the parameter of operations on some dates of one source.
type dated struct {
	Source string `json:"source"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
}

// located is the parameter of operations on a file.
type located struct {
	Path string `json:"path"` // absolute
}

// Routes returns the operations of a serving host by path, for Listen. "ping" answers
// the host's version.
func Routes(version string, h operation.Operations) map[string]Operation {
	return map[string]Operation{
		"ping":             func(context.Context, json.RawMessage) (any, error) { return version, nil },
		"status":           withoutParams(h.Status),
		"plan":             withoutParams(h.Plan),
		"pipelines":        withoutParams(h.Pipelines),
		"journal/segments": withoutParams(h.Segments),
		"journal/stats":    withoutParams(h.JournalStats),
		"journal/verify":   withoutParams(h.VerifyJournal),
		"destinations":     withoutParams(h.ListDestinations),
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
		"pipelines/show":   withParams(func(ctx context.Context, n named) (any, error) { return h.Pipeline(ctx, n.Pipeline) }),
		"pipelines/cancel": withParams(func(ctx context.Context, n named) (any, error) { return h.CancelPipeline(ctx, n.Pipeline) }),
		"pipelines/forget": withParams(func(ctx context.Context, n named) (any, error) {
			return h.ForgetPipeline(ctx, n.Pipeline, n.Emptied)
		}),
		"runs/show": withParams(func(ctx context.Context, n named) (any, error) { return h.Run(ctx, n.Pipeline, n.Number) }),
		"pipelines/run": withParams(func(ctx context.Context, n named) (any, error) {
			return h.RunPipeline(ctx, n.Pipeline, n.AllowShrink)
		}),
		"pipelines/recover": withParams(func(ctx context.Context, n named) (any, error) {
			return h.RecoverPipeline(ctx, n.Pipeline, n.Resend)
		}),
		"pipelines/verify": withParams(func(ctx context.Context, r operation.VerifyRequest) (any, error) {
			return h.VerifyPipeline(ctx, r)
		}),
		"runs":       withParams(func(ctx context.Context, f operation.RunFilter) (any, error) { return h.Runs(ctx, f) }),
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
		"reload":      withoutParams(h.Reload),
		"reload/plan": withoutParams(h.PlanReload),
		"backup":      withParams(func(ctx context.Context, l located) (any, error) { return h.Backup(ctx, l.Path) }),
	}
}

// withoutParams adapts an operation that has no parameters.
func withoutParams[R any](do func(context.Context) (R, error)) Operation {
	return func(ctx context.Context, _ json.RawMessage) (any, error) { return do(ctx) }
}

// withParams adapts an operation that has parameters.
func withParams[P any](do func(context.Context, P) (any, error)) Operation {
	return func(ctx context.Context, params json.RawMessage) (any, error) {
		var p P
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		return do(ctx, p)
	}
}
