package pipeline

import (
	"errors"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// RunState is the state of a run in the catalog.
//
//	planned ──► running ──► succeeded
//	   ▲           │ ▲
//	   │           ▼ │ a retry, with a new fence
//	retry ◄───── failed
//
// A run whose attempt ended with a transient error stays running; failed is for
// errors that a person has to look at.
type RunState string

// The run states.
const (
	RunPlanned   RunState = "planned"
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
)

// Terminal reports whether the run needs its extents no longer.
func (s RunState) Terminal() bool { return s == RunSucceeded }

// Extent describes an extent of the journal for planning: where it is, which
// dates its rows have, and how large it is.
type Extent struct {
	Ref       journal.ExtentRef
	UTCDate   journal.Day
	ZoneDate  journal.Day
	Rows      int64
	RowsBytes int64 // uncompressed
	Bytes     int64 // as stored
	// SealedAt is when the rows became part of the journal. Planning needs it; a run
	// does not keep it.
	SealedAt time.Time
}

// Generation is the whole of a project's people or identity mappings, as a
// fold over the journal has left it.
type Generation struct {
	Blob      string `json:"blob"` // its list of blocks
	Seq       int64  `json:"seq"`  // the journal's sequence up to which rows were folded
	Rows      int64  `json:"rows"`
	RowsBytes int64  `json:"rows_bytes"` // uncompressed
	Bytes     int64  `json:"bytes"`      // as stored
}

// Run is one run, fixed when it was planned: of events extents, of people and
// identity a generation that replaces the one before.
type Run struct {
	PipelineID string
	Number     int64
	Content    string // see Content; empty for a run that was planned by an older host
	State      RunState
	Extents    []Extent
	Generation *Generation
	Next       Cursor    // the pipeline's cursor once this run is recorded
	AsOf       time.Time // all that was journaled before is in this run or an earlier one; zero: more runs are due
	PlannedAt  time.Time
	FinishedAt time.Time
	Error      string // why the last attempt ended; "": none has failed
	ErrorClass string // of Error: retryable, permanent, configuration or fenced; "": not known
	// Prepared is the receipt of the prepared and not yet committed run, from
	// the latest attempt that requested the commit; nil before the first one.
	Prepared *Receipt
	Receipt  *Receipt
}

// Totals are the sums over a run's extents.
type Totals struct {
	Rows, RowsBytes, Bytes int64
	Days                   int
	From, To               journal.Day
}

// Totals sums up the extents or the generation of the run. A generation has no
// days.
func (r *Run) Totals() Totals {
	if g := r.Generation; g != nil {
		return Totals{Rows: g.Rows, RowsBytes: g.RowsBytes, Bytes: g.Bytes}
	}
	return Sum(r.Extents)
}

// Sum sums up extents, by UTC date.
func Sum(extents []Extent) Totals {
	var t Totals
	days := map[journal.Day]struct{}{}
	for i, e := range extents {
		t.Rows += e.Rows
		t.RowsBytes += e.RowsBytes
		t.Bytes += e.Bytes
		if i == 0 || e.UTCDate < t.From {
			t.From = e.UTCDate
		}
		if i == 0 || e.UTCDate > t.To {
			t.To = e.UTCDate
		}
		days[e.UTCDate] = struct{}{}
	}
	t.Days = len(days)
	return t
}

// Receipt records the rows that a successful run put at the destination. The
// catalog keeps it as JSON.
type Receipt struct {
	Rows        int64              `json:"rows"`
	Rejected    int64              `json:"rejected"`
	RowsBytes   int64              `json:"rows_bytes"`
	StoredBytes int64              `json:"stored_bytes"`
	Partitions  []PartitionReceipt `json:"partitions"`
	// Changed counts, by reason, the rows that the plugin changed to fit the
	// destination. A row may count under several reasons.
	Changed map[string]int64 `json:"changed,omitempty"`
	// LeftOut counts the late rows that were passed when the run was planned and are not
	// in it.
	LeftOut int64 `json:"left_out,omitempty"`
	// Planned is set when the counts are those of the plan: the destination has
	// committed the run and keeps no receipt.
	Planned bool `json:"planned,omitempty"`
}

// PartitionReceipt is a receipt's part for one date.
type PartitionReceipt struct {
	Date        string   `json:"date"`
	Rows        int64    `json:"rows"`
	Rejected    int64    `json:"rejected,omitempty"`
	StoredBytes int64    `json:"stored_bytes"`
	Objects     []string `json:"objects,omitempty"`
}

// Lease is the right to carry out a run. The destination and the catalog
// recognize the latest attempt by the greatest Fence.
type Lease struct {
	PipelineID string
	Number     int64
	Owner      string
	Fence      int64
}

// ErrPaused says that an attempt at a run was stopped because the pipeline was paused.
// The run is continued when the pipeline is resumed.
var ErrPaused = errors.New("the pipeline was paused")

// Errors of leases.
var (
	// ErrLeased says that another owner's lease on the run has not expired.
	ErrLeased = errors.New("run is leased by another owner")
	// ErrLeaseLost says that the lease expired and another owner took it.
	ErrLeaseLost = errors.New("lease on the run was lost")
)

// StreamKind is the kind of blocks that a stream's rows lie in.
func StreamKind(s batch.Stream) journal.Kind {
	switch s {
	case batch.Events:
		return journal.KindEvents
	case batch.People:
		return journal.KindProfiles
	default:
		return journal.KindLinks
	}
}
