package operation

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Views are the requests of commands that only look. Look returns them. The
// caller closes them.
type Views interface {
	Status(ctx context.Context) (*Status, error)
	Plan(ctx context.Context) ([]PlannedRun, error)
	Pipelines(ctx context.Context) ([]PipelineStatus, error)
	Pipeline(ctx context.Context, name string) (*PipelineDetail, error)
	// ListDestinations lists the destinations of the configuration, by name.
	ListDestinations(ctx context.Context) ([]DestinationStatus, error)
	// Runs lists runs by pipeline, the latest first.
	Runs(ctx context.Context, filter RunFilter) ([]RunStatus, error)
	Run(ctx context.Context, pipeline string, number int64) (*RunDetail, error)
	Segments(ctx context.Context) ([]SegmentStatus, error)
	JournalStats(ctx context.Context) ([]JournalStats, error)
	VerifyJournal(ctx context.Context) (*JournalReport, error)
	Quarantine(ctx context.Context, filter quarantine.Filter) (*QuarantineList, error)
	// IdentityFailures lists the links that were refused, of all that are sealed.
	IdentityFailures(ctx context.Context, filter IdentityFilter) (*IdentityFailures, error)

	Close() error
}

// Operations are the requests of commands to a data directory. A Host carries
// them out itself; Operate returns a connection to the running host if there is
// one. The caller closes them.
type Operations interface {
	Views

	// PausePipeline pauses a pipeline, or resumes it. A pipeline that the configuration
	// pauses stays paused.
	PausePipeline(ctx context.Context, name string, paused bool) (*Pause, error)
	// CancelPipeline ends a pipeline for good: its run that is not done is recorded if
	// the destination has committed it, and otherwise its rows are removed.
	CancelPipeline(ctx context.Context, name string) (*Cancellation, error)
	// ForgetPipeline drops a pipeline that is not configured, and the records of its
	// runs. emptied confirms that its rows were removed from the destination, so that
	// the dates are free.
	ForgetPipeline(ctx context.Context, name string, emptied bool) (*Forgetting, error)
	// RunPipeline runs a pipeline until nothing is left to export, whether or
	// not it is due. allowShrink confirms that a set may shrink.
	RunPipeline(ctx context.Context, name string, allowShrink bool) (*PipelineSummary, error)
	// RecoverPipeline compares the runs of a pipeline's destination with those of
	// the catalog. With resend, if they differ, the pipeline continues after the
	// destination's last run and sends again the rows that came after the last run
	// that both have.
	RecoverPipeline(ctx context.Context, name string, resend bool) (*Recovery, error)
	// VerifyPipeline compares a pipeline's rows in the journal, in the catalog and
	// at the destination, and repairs differences if the request says so.
	VerifyPipeline(ctx context.Context, r VerifyRequest) (*Verification, error)
	RetryRun(ctx context.Context, pipeline string, number int64) error
	// CheckDestinations tries the operations of an export at the destination of
	// that name ("s3.lake"), or at all for "".
	CheckDestinations(ctx context.Context, name string) ([]DestinationCheck, error)

	// CheckSource asks a source that pulls for the events of some dates, counts them
	// and stores nothing. Without dates it is yesterday.
	CheckSource(ctx context.Context, name, from, to string) (*SourceCheck, error)
	// PullSource pulls the events of some dates, whether or not they are due.
	PullSource(ctx context.Context, name, from, to string) (*SourceSummary, error)

	ReplayQuarantine(ctx context.Context, filter quarantine.Filter) (*ReplayReport, error)
	// DropQuarantine removes records for good.
	DropQuarantine(ctx context.Context, filter quarantine.Filter) (*DropReport, error)

	// Reload has a serving host read its configuration again.
	Reload(ctx context.Context) (*ReloadReport, error)
	// PlanReload returns the changes that Reload would make now. It changes nothing.
	PlanReload(ctx context.Context) (*ReloadReport, error)
	// Backup writes a backup to a new file at path, which is absolute, or into the
	// directory of that name.
	Backup(ctx context.Context, path string) (*BackupReport, error)
}
