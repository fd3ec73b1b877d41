package verify

import "fmt"

// Kind is the kind of a difference.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // a recorded object is not there
	Truncated Kind = "truncated" // an object is shorter than recorded
	Size      Kind = "size"      // an object is longer than recorded
	Changed   Kind = "changed"   // an object has other bytes than recorded
	Foreign   Kind = "foreign"   // an object has one of the pipeline's names, and no commit names it
	Doubled   Kind = "doubled"   // an object is a copy of a recorded one: a query counts its rows twice
	Record    Kind = "record"    // the destination's record of a run is missing, damaged, or not that of the catalog
	Totals    Kind = "totals"    // the totals of a date in the destination's record are not those of its objects
	Lost      Kind = "lost"      // the destination has no record of a run that was committed
	Unknown   Kind = "unknown"   // the destination has committed a run that the catalog does not have
	Skipped   Kind = "skipped"   // rows of the journal are in no run, although later ones are
	Twice     Kind = "twice"     // rows of the journal are in two committed runs
)

// Report is the result of a verification. It is printed as JSON.
type Report struct {
	Pipeline    string `json:"pipeline"`
	Destination string `json:"destination"`
	Stream      string `json:"stream"`
	From        string `json:"from,omitempty"` // first date that was compared; empty: no limit
	To          string `json:"to,omitempty"`
	Deep        bool   `json:"deep,omitempty"` // objects were read, and their rows counted
	// LastRun is the last run that the catalog has as committed.
	LastRun int64 `json:"last_committed_run"`
	// Days by date. A set that is replaced has one entry, without a date.
	Days        []Day        `json:"days"`
	Differences []Difference `json:"differences"`
	// Notes are no differences: objects of a run that is not committed yet.
	Notes []string `json:"notes,omitempty"`
	// Plan is the repair of the differences; nil: none can be repaired.
	Plan *Plan `json:"plan,omitempty"`
	// Repaired counts the work of a repair before this comparison; nil: there was
	// none.
	Repaired *Repaired `json:"repaired,omitempty"`
}

// Amount counts rows and objects.
type Amount struct {
	Rows int64 `json:"rows"`
	// RowsBytes are the bytes of the rows uncompressed; 0: not known.
	RowsBytes int64 `json:"rows_bytes,omitempty"`
	// StoredBytes are the bytes as stored: of objects, or of blocks of the journal.
	StoredBytes int64 `json:"stored_bytes"`
	Objects     int64 `json:"objects,omitempty"`
}

func (a *Amount) add(b Amount) {
	a.Rows += b.Rows
	a.RowsBytes += b.RowsBytes
	a.StoredBytes += b.StoredBytes
	a.Objects += b.Objects
}

// Day holds the four sides of one date.
type Day struct {
	Date string `json:"date"`
	// Journal are the rows that the journal holds in the pipeline's range, exported
	// or not. Of a replaced set it is the set of the last run, if it is still held.
	Journal Amount `json:"journal"`
	// Waiting are the rows of Journal that are in no run yet.
	Waiting int64 `json:"waiting,omitempty"`
	// Gone are the committed rows that the journal no longer holds.
	Gone int64 `json:"gone,omitempty"`
	// Committed are the receipts of the catalog; Rejected rows are in quarantine.
	Committed Amount `json:"committed"`
	Rejected  int64  `json:"rejected,omitempty"`
	// Recorded are the objects that the destination's record names.
	Recorded Amount `json:"recorded"`
	// Stored are the objects that are there. Rows of an object are those that were
	// counted, or else those that are recorded of a whole object.
	Stored Amount `json:"stored"`
	// Uncounted are the objects of Stored whose rows are not known.
	Uncounted int64 `json:"uncounted_objects,omitempty"`
}

// Difference is one difference.
type Difference struct {
	Kind   Kind   `json:"kind"`
	Date   string `json:"date,omitempty"`
	Run    int64  `json:"run,omitempty"`
	Object string `json:"object,omitempty"`
	Detail string `json:"detail"`
	// Repair is the way of the repair: send, remove, or record (write the record
	// again). Empty: nothing, for the reason in Left.
	Repair string `json:"repair,omitempty"`
	Left   string `json:"left,omitempty"`
}

// The repairs of a difference.
const (
	repairSend   = "send"
	repairRemove = "remove"
	repairRecord = "record"
)

// Plan is a repair.
type Plan struct {
	// Sends by run, ascending.
	Sends []Send `json:"sends,omitempty"`
	// Remove are names of objects.
	Remove []string `json:"remove,omitempty"`
	// Totals: the totals by date are computed again.
	Totals bool `json:"totals,omitempty"`
	// Record: the destination's record of the pipeline is restored. Of a set, Sends
	// has the last run.
	Record bool `json:"record,omitempty"`
}

// Empty reports whether the plan does nothing.
func (p *Plan) Empty() bool {
	return p == nil || len(p.Sends) == 0 && len(p.Remove) == 0 && !p.Totals && !p.Record
}

// Only returns the part of a plan that was shown: sends of objects and records,
// and removals, that are among the names. nil: the whole plan.
func (p *Plan) Only(names []string) *Plan {
	if p == nil || names == nil {
		return p
	}
	shown := make(map[string]bool, len(names))
	for _, name := range names {
		shown[name] = true
	}
	out := &Plan{Totals: p.Totals && shown[TotalsName], Record: p.Record && shown[PipelineRecordName]}
	for _, s := range p.Sends {
		known := s.Record && shown[RecordName(s.Run)]
		for _, object := range s.Objects {
			known = known || shown[object]
		}
		if known {
			out.Sends = append(out.Sends, s)
		}
	}
	for _, name := range p.Remove {
		if shown[name] {
			out.Remove = append(out.Remove, name)
		}
	}
	return out
}

// TotalsName stands for the totals by date among the names that Only takes.
const TotalsName = "totals"

// PipelineRecordName stands for the record of the pipeline among the names that Only
// takes.
const PipelineRecordName = "record of the pipeline"

// RecordName stands for the record of a run among the names that Only takes.
func RecordName(run int64) string { return fmt.Sprintf("record of run %d", run) }

// Names returns the names of everything that the plan restores, writes or
// removes, for Only.
func (p *Plan) Names() []string {
	names := []string{}
	if p == nil {
		return names
	}
	for _, s := range p.Sends {
		names = append(names, s.Objects...)
		if s.Record {
			names = append(names, RecordName(s.Run))
		}
	}
	names = append(names, p.Remove...)
	if p.Totals {
		names = append(names, TotalsName)
	}
	if p.Record {
		names = append(names, PipelineRecordName)
	}
	return names
}

// Done counts the work of a plan, from the report after it.
func Done(plan *Plan, after *Report) *Repaired {
	left, broken := map[string]bool{}, map[int64]bool{}
	for _, d := range after.Differences {
		left[d.Object] = true
		if d.Kind == Record {
			broken[d.Run] = true
		}
	}
	done := &Repaired{Totals: plan.Totals}
	if plan.Record && len(plan.Sends) == 0 && !broken[0] {
		done.Records++
	}
	for _, s := range plan.Sends {
		done.Runs = append(done.Runs, s.Run)
		if s.Record && !broken[s.Run] {
			done.Records++
		}
		for _, object := range s.Objects {
			if !left[object] {
				done.Objects++
			}
		}
	}
	for _, object := range plan.Remove {
		if !left[object] {
			done.Removed++
		}
	}
	return done
}

// Send is a committed run of which parts are sent again.
type Send struct {
	Run int64 `json:"run"`
	// Parts are indices of the run's parts, ascending.
	Parts []int    `json:"parts"`
	Dates []string `json:"dates,omitempty"`
	// Objects are the damaged and missing ones.
	Objects []string `json:"objects,omitempty"`
	// Record: all parts are sent, so that the destination's record of the run is
	// written again.
	Record bool  `json:"record,omitempty"`
	Rows   int64 `json:"rows"`
}

// Repaired counts the work of a repair.
type Repaired struct {
	Runs    []int64 `json:"runs,omitempty"`    // whose objects or records were restored
	Records int     `json:"records,omitempty"` // of runs, that were written again
	Objects int     `json:"objects"`           // that were restored
	Removed int     `json:"removed"`
	Totals  bool    `json:"totals,omitempty"`
}
