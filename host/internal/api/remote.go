package api

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Remote is a serving host. It implements operation.Operations, and may be used
// concurrently. The caller closes it.
type Remote struct {
	views
	pipelines
	others
	client *Client
}

// The operations of a Remote.
type (
	views     struct{ *Client }
	pipelines struct{ *Client }
	others    struct{ *Client }
)

var _ operation.Operations = (*Remote)(nil)

// Reach returns the host that serves the socket at path. The error is that of a host
// that does not answer.
func Reach(ctx context.Context, path string) (*Remote, error) {
	c := Dial(path)
	if err := c.Call(ctx, "ping", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return &Remote{views{c}, pipelines{c}, others{c}, c}, nil
}

// Close implements Operations.
func (r *Remote) Close() error {
	r.client.Close()
	return nil
}

// ask calls an operation for its result.
func ask[R any](ctx context.Context, c *Client, operation string, params any) (R, error) {
	var result R
	err := c.Call(ctx, operation, params, &result)
	return result, err
}

// Status implements Operations.
func (r views) Status(ctx context.Context) (*operation.Status, error) {
	return ask[*operation.Status](ctx, r.Client, "status", nil)
}

// Plan implements Operations.
func (r views) Plan(ctx context.Context) ([]operation.PlannedRun, error) {
	return ask[[]operation.PlannedRun](ctx, r.Client, "plan", nil)
}

// Pipelines implements Operations.
func (r views) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	return ask[[]operation.PipelineStatus](ctx, r.Client, "pipelines", nil)
}

// PausePipeline implements Operations.
func (r pipelines) PausePipeline(ctx context.Context, name string, paused bool) (*operation.Pause, error) {
	return ask[*operation.Pause](ctx, r.Client, "pipelines/pause", named{Pipeline: name, Paused: paused})
}

// Pipeline implements Operations.
func (r views) Pipeline(ctx context.Context, name string) (*operation.PipelineDetail, error) {
	return ask[*operation.PipelineDetail](ctx, r.Client, "pipelines/show", named{Pipeline: name})
}

// Run implements Operations.
func (r views) Run(ctx context.Context, name string, number int64) (*operation.RunDetail, error) {
	return ask[*operation.RunDetail](ctx, r.Client, "runs/show", named{Pipeline: name, Number: number})
}

// CancelPipeline implements Operations.
func (r pipelines) CancelPipeline(ctx context.Context, name string) (*operation.Cancellation, error) {
	return ask[*operation.Cancellation](ctx, r.Client, "pipelines/cancel", named{Pipeline: name})
}

// ForgetPipeline implements Operations.
func (r pipelines) ForgetPipeline(ctx context.Context, name string, emptied bool) (*operation.Forgetting, error) {
	return ask[*operation.Forgetting](ctx, r.Client, "pipelines/forget", named{Pipeline: name, Emptied: emptied})
}

// RunPipeline implements Operations.
func (r pipelines) RunPipeline(ctx context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	return ask[*operation.PipelineSummary](ctx, r.Client, "pipelines/run", named{Pipeline: name, AllowShrink: allowShrink})
}

// RecoverPipeline implements Operations.
func (r pipelines) RecoverPipeline(ctx context.Context, name string, resend bool) (*operation.Recovery, error) {
	return ask[*operation.Recovery](ctx, r.Client, "pipelines/recover", named{Pipeline: name, Resend: resend})
}

// VerifyPipeline implements Operations.
func (r pipelines) VerifyPipeline(ctx context.Context, request operation.VerifyRequest) (*operation.Verification, error) {
	return ask[*operation.Verification](ctx, r.Client, "pipelines/verify", request)
}

// Runs implements Operations.
func (r views) Runs(ctx context.Context, f operation.RunFilter) ([]operation.RunStatus, error) {
	return ask[[]operation.RunStatus](ctx, r.Client, "runs", f)
}

// RetryRun implements Operations.
func (r pipelines) RetryRun(ctx context.Context, name string, number int64) error {
	return r.Call(ctx, "runs/retry", named{Pipeline: name, Number: number}, nil)
}

// ListDestinations implements Operations.
func (r views) ListDestinations(ctx context.Context) ([]operation.DestinationStatus, error) {
	return ask[[]operation.DestinationStatus](ctx, r.Client, "destinations", nil)
}

// CheckDestinations implements Operations.
func (r others) CheckDestinations(ctx context.Context, name string) ([]operation.DestinationCheck, error) {
	return ask[[]operation.DestinationCheck](ctx, r.Client, "destinations/check", named{Destination: name})
}

// CheckSource implements Operations.
func (r others) CheckSource(ctx context.Context, name, from, to string) (*operation.SourceCheck, error) {
	return ask[*operation.SourceCheck](ctx, r.Client, "sources/check", dated{name, from, to})
}

// PullSource implements Operations.
func (r others) PullSource(ctx context.Context, name, from, to string) (*operation.SourceSummary, error) {
	return ask[*operation.SourceSummary](ctx, r.Client, "sources/pull", dated{name, from, to})
}

// Segments implements Operations.
func (r views) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	return ask[[]operation.SegmentStatus](ctx, r.Client, "journal/segments", nil)
}

// JournalStats implements Operations.
func (r views) JournalStats(ctx context.Context) ([]operation.JournalStats, error) {
	return ask[[]operation.JournalStats](ctx, r.Client, "journal/stats", nil)
}

// VerifyJournal implements Operations.
func (r views) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	return ask[*operation.JournalReport](ctx, r.Client, "journal/verify", nil)
}

// Quarantine implements Operations.
func (r views) Quarantine(ctx context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	return ask[*operation.QuarantineList](ctx, r.Client, "quarantine", f)
}

// ReplayQuarantine implements Operations.
func (r others) ReplayQuarantine(ctx context.Context, f quarantine.Filter) (*operation.ReplayReport, error) {
	return ask[*operation.ReplayReport](ctx, r.Client, "quarantine/replay", f)
}

// DropQuarantine implements Operations.
func (r others) DropQuarantine(ctx context.Context, f quarantine.Filter) (*operation.DropReport, error) {
	return ask[*operation.DropReport](ctx, r.Client, "quarantine/drop", f)
}

// Reload implements Operations.
func (r others) Reload(ctx context.Context) (*operation.ReloadReport, error) {
	return ask[*operation.ReloadReport](ctx, r.Client, "reload", nil)
}

// PlanReload implements Operations.
func (r others) PlanReload(ctx context.Context) (*operation.ReloadReport, error) {
	return ask[*operation.ReloadReport](ctx, r.Client, "reload/plan", nil)
}

// Backup implements Operations.
func (r others) Backup(ctx context.Context, path string) (*operation.BackupReport, error) {
	return ask[*operation.BackupReport](ctx, r.Client, "backup", located{path})
}

// IdentityFailures implements Operations.
func (r views) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	return ask[*operation.IdentityFailures](ctx, r.Client, "identity/failures", f)
}
