package operation

import "time"

// Pause is the result of PausePipeline.
type Pause struct {
	Pipeline   string `json:"pipeline"`
	Paused     bool   `json:"paused"`               // no run is planned
	Changed    bool   `json:"changed"`              // it was not so before
	Configured string `json:"configured,omitempty"` // where the configuration pauses it: "penstock.hcl:24"
	Removed    bool   `json:"removed,omitempty"`    // it is not in the configuration: no run is planned either way
}

// PipelineStatus describes a registered pipeline and its last and next run.
type PipelineStatus struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	Stream      string `json:"stream"`
	Destination string `json:"destination"`
	// State is active, running, retrying, interrupted (a run was not finished
	// when its host ended), failed, refused (see Refused), paused, ended (its
	// dates are over and exported), cancelled (for good), or removed (from the
	// configuration).
	State      string `json:"state"`
	Phase      string `json:"phase"` // backfill or live; full set
	Sequence   int64  `json:"sequence"`
	Behind     int64  `json:"behind"`      // seals of the journal that were not considered yet
	BehindRows int64  `json:"behind_rows"` // rows of the journal that are not exported yet; of a set, changes
	Runs       int64  `json:"runs"`
	Rows       int64  `json:"rows"` // at the destination
	Rejected   int64  `json:"rejected"`
	// Changed counts, by reason, the rows at the destination that its plugin changed
	// to fit it. A row may count under several reasons.
	Changed   map[string]int64 `json:"changed,omitempty"`
	LeftOut   int64            `json:"left_out,omitempty"` // late rows that a pipeline with sync = false has passed
	Outside   *OutsideDates    `json:"outside,omitempty"`  // rows that lie outside the pipeline's dates; nil: there are none
	Backfill  *Backfill        `json:"backfill,omitempty"` // nil: there is none, or it is over
	LastRun   *RunStatus       `json:"last_run,omitempty"`
	NextRunAt *time.Time       `json:"next_run_at,omitempty"` // in the past: at once; nil: there will be none
	Refused   string           `json:"refused,omitempty"`     // why the next run waits for a person
	Error     string           `json:"error,omitempty"`       // why the serving host could not plan or begin a run; it retries at NextRunAt
}

// OutsideDates counts the rows of the journal that a pipeline of events does not export,
// because they lie before its from_date or after its to_date. Rows that it has exported
// with another to_date are not counted.
type OutsideDates struct {
	FromDate string     `json:"from_date"`         // "earliest" is resolved
	ToDate   string     `json:"to_date,omitempty"` // "": the pipeline has none
	Before   *DatedRows `json:"before,omitempty"`  // nil: there are none
	After    *DatedRows `json:"after,omitempty"`   // nil: there are none
}

// DatedRows counts rows, and names the first and the last of their dates.
type DatedRows struct {
	Rows int64  `json:"rows"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Backfill is the progress of the export of rows that were journaled before a pipeline was
// registered. Bytes are of blocks as stored.
type Backfill struct {
	Days           int   `json:"days"` // dates with rows
	DaysDone       int   `json:"days_done"`
	Rows           int64 `json:"rows"`
	RowsDone       int64 `json:"rows_done"` // those that the present attempt has sent included
	Bytes          int64 `json:"bytes"`
	BytesDone      int64 `json:"bytes_done"`
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"` // of the attempts of the serving host; 0: not known
	SecondsLeft    int64 `json:"seconds_left,omitempty"`     // at that rate; 0: not known
}

// RunFilter selects runs.
type RunFilter struct {
	Pipeline string `json:"pipeline,omitempty"` // "" for all
	// Before selects runs with smaller numbers; 0: all.
	Before int64 `json:"before,omitempty"`
	// Limit is how many runs of each pipeline are listed, the latest; 0: 50. It is
	// MaxRuns at most.
	Limit int `json:"limit,omitempty"`
}

// MaxRuns bounds RunFilter.Limit.
const MaxRuns = 1000

// RunStatus is one run.
type RunStatus struct {
	Pipeline   string           `json:"pipeline"`
	Number     int64            `json:"number"`
	State      string           `json:"state"` // planned, running, prepared, retrying, interrupted, failed, cancelled or succeeded: committed and recorded
	From       string           `json:"from"`  // "" for a full set
	To         string           `json:"to"`
	Days       int              `json:"days"`
	Rows       int64            `json:"rows"`
	Bytes      int64            `json:"bytes"`
	Rejected   int64            `json:"rejected"`
	Changed    map[string]int64 `json:"changed,omitempty"`  // by reason, as in PipelineStatus
	LeftOut    int64            `json:"left_out,omitempty"` // late rows that were passed when the run was planned
	Fence      int64            `json:"fence"`
	PlannedAt  time.Time        `json:"planned_at"`
	Attempts   int64            `json:"attempts"`
	StartedAt  *time.Time       `json:"started_at,omitempty"` // the first attempt
	Seconds    float64          `json:"seconds,omitempty"`    // from the first attempt to the end
	FinishedAt *time.Time       `json:"finished_at,omitempty"`
	Error      string           `json:"error,omitempty"`
	// ErrorClass is the class of Error: retryable, permanent, configuration or
	// fenced. A person must act on permanent and configuration errors; the run is
	// tried again by the next start of a host.
	ErrorClass string `json:"error_class,omitempty"`
	// NeedsRecovery says that the run failed because the destination holds other runs
	// than the catalog: 'penstock pipelines recover' compares them.
	NeedsRecovery bool `json:"needs_recovery,omitempty"`
	// RetryAt is when the serving host makes the next attempt; nil: there is none.
	RetryAt     *time.Time `json:"retry_at,omitempty"`
	Objects     []string   `json:"objects,omitempty"`
	StoredBytes int64      `json:"stored_bytes"`
}

// PlannedRun describes the rows that a pipeline's next run would export.
type PlannedRun struct {
	Pipeline string       `json:"pipeline"`
	Number   int64        `json:"number"`
	Fixed    bool         `json:"fixed"` // planned already, and not yet done
	Phase    string       `json:"phase"`
	Rows     int64        `json:"rows"`
	Bytes    int64        `json:"bytes"`
	Days     []PlannedDay `json:"days"`
	// Changes are rows of the journal that are not yet in the set. Rows and Bytes
	// are those of the set before them.
	Changes   int64      `json:"changes,omitempty"`
	Unchanged bool       `json:"unchanged,omitempty"`   // the set is at the destination already: there will be no run
	Refused   string     `json:"refused,omitempty"`     // see PipelineStatus
	State     string     `json:"state"`                 // see PipelineStatus; "unregistered" before the first run
	NextRunAt *time.Time `json:"next_run_at,omitempty"` // see PipelineStatus
	// Outside counts rows of the journal that lie outside the pipeline's dates: no run
	// exports them. Nil: there are none.
	Outside *OutsideDates `json:"outside,omitempty"`
	// Unread are sources of the project that are not wholly in the journal: their
	// rows are not in Rows.
	Unread []Unread `json:"unread,omitempty"`
}

// PlannedDay is a planned run's part for one date.
type PlannedDay struct {
	Date  string `json:"date"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
}

// DestinationStatus is a destination of the configuration, with the pipelines that export to
// it.
type DestinationStatus struct {
	Name      string                `json:"name"`   // "s3.lake"
	Plugin    string                `json:"plugin"` // "s3"
	Pipelines []DestinationPipeline `json:"pipelines"`
}

// DestinationPipeline is a pipeline of the configuration that exports to a destination.
type DestinationPipeline struct {
	Name    string     `json:"name"`
	Project string     `json:"project"`
	Stream  string     `json:"stream"`
	State   string     `json:"state,omitempty"` // as in PipelineStatus; "": it is not registered yet
	Rows    int64      `json:"rows"`            // at the destination
	LastRun *RunStatus `json:"last_run,omitempty"`
}

// DestinationCheck is the result of trying one operation of an export.
type DestinationCheck struct {
	Destination string `json:"destination"`
	Project     string `json:"project"`
	Action      string `json:"action"`
	OK          bool   `json:"ok"`
	Skipped     bool   `json:"skipped,omitempty"` // nothing was tried, for the reason in Detail
	Detail      string `json:"detail,omitempty"`
}
