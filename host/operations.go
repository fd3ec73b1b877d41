package host

import (
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// The requests that commands make, as package operation describes them.
type (
	Operations = operation.Operations
	Views      = operation.Views
)

// Progress of long work.
type (
	Report   = progress.Report
	Observer = progress.Observer
)

// The answers to these requests, and their parts: see package operation.
type (
	BackupReport        = operation.BackupReport
	Cancellation        = operation.Cancellation
	CollectorStatus     = operation.CollectorStatus
	Corruption          = operation.Corruption
	DestinationCheck    = operation.DestinationCheck
	DestinationStatus   = operation.DestinationStatus
	DestinationPipeline = operation.DestinationPipeline
	Difference          = operation.Difference
	DropReport          = operation.DropReport
	ExtentStatus        = operation.ExtentStatus
	Forgetting          = operation.Forgetting
	IdentityCount       = operation.IdentityCount
	IdentityFailure     = operation.IdentityFailure
	IdentityFailures    = operation.IdentityFailures
	IdentityFilter      = operation.IdentityFilter
	IdentityStatus      = operation.IdentityStatus
	JournalReport       = operation.JournalReport
	JournalStats        = operation.JournalStats
	LogLoss             = operation.LogLoss
	MissingSegments     = operation.MissingSegments
	Pause               = operation.Pause
	PipelineDetail      = operation.PipelineDetail
	PipelineStatus      = operation.PipelineStatus
	Backfill            = operation.Backfill
	OutsideDates        = operation.OutsideDates
	DatedRows           = operation.DatedRows
	PipelineSummary     = operation.PipelineSummary
	PlannedDay          = operation.PlannedDay
	PlannedRun          = operation.PlannedRun
	ProjectStatus       = operation.ProjectStatus
	PullStatus          = operation.PullStatus
	QuarantineCount     = operation.QuarantineCount
	QuarantineFilter    = quarantine.Filter
	QuarantineList      = operation.QuarantineList
	QuarantineLosses    = operation.QuarantineLosses
	QuarantineMissing   = operation.QuarantineMissing
	QuarantineStatus    = operation.QuarantineStatus
	QuarantinedRecord   = operation.QuarantinedRecord
	RebuildReport       = operation.RebuildReport
	RecordCount         = operation.RecordCount
	Recovery            = operation.Recovery
	RepairPlan          = operation.RepairPlan
	ConfigChange        = operation.ConfigChange
	ReloadReport        = operation.ReloadReport
	Repaired            = operation.Repaired
	ReplayReport        = operation.ReplayReport
	RequestCount        = operation.RequestCount
	RestoreReport       = operation.RestoreReport
	RunDay              = operation.RunDay
	RunDetail           = operation.RunDetail
	RunFilter           = operation.RunFilter
	RunStatus           = operation.RunStatus
	Upkeep              = operation.Upkeep
	SegmentStatus       = operation.SegmentStatus
	TargetStatus        = operation.TargetStatus
	SourceCheck         = operation.SourceCheck
	SourceDay           = operation.SourceDay
	SourceStatus        = operation.SourceStatus
	SourceSummary       = operation.SourceSummary
	Status              = operation.Status
	Summary             = operation.Summary
	Unread              = operation.Unread
	Verification        = operation.Verification
	VerifiedDay         = operation.VerifiedDay
	VerifyRequest       = operation.VerifyRequest
)
