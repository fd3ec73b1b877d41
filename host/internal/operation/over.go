package operation

import "time"

// TargetStatus is a place with the dates of a pipeline there. Of a set the dates have no
// meaning, and are empty.
type TargetStatus struct {
	URI string `json:"uri"`
	// From and To are the dates that no other pipeline may write there; To is empty
	// without an end.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// AdoptedBy is the pipeline that goes on there; empty: there is none.
	AdoptedBy string `json:"adopted_by,omitempty"`
}

// Cancellation is the result of CancelPipeline.
type Cancellation struct {
	Pipeline string `json:"pipeline"`
	Changed  bool   `json:"changed"` // it was not over before
	// Run is the run that was not done; 0: there was none. It was Committed at the
	// destination and is recorded, or its rows were removed there.
	Run       int64 `json:"run,omitempty"`
	Committed bool  `json:"committed,omitempty"`
	// Targets are the places with the dates that stay taken.
	Targets []TargetStatus `json:"targets"`
}

// Forgetting is the result of ForgetPipeline.
type Forgetting struct {
	Pipeline    string `json:"pipeline"`
	ID          string `json:"id"`
	Destination string `json:"destination"`
	Runs        int64  `json:"runs"` // whose records were dropped
	// Targets are the places where rows of the pipeline stay, with their dates.
	Targets []TargetStatus `json:"targets"`
}

// PipelineDetail is everything that is known of a pipeline.
type PipelineDetail struct {
	PipelineStatus
	Project    int64          `json:"project"`
	From       string         `json:"from,omitempty"` // empty for a set
	To         string         `json:"to,omitempty"`   // empty: without an end
	CreatedAt  time.Time      `json:"created_at"`
	Targets    []TargetStatus `json:"targets"`
	Adopted    []string       `json:"adopted,omitempty"` // ids of the pipelines that it goes on for
	LatestRuns []RunStatus    `json:"latest_runs"`
}

// RunDetail is a run with its rows by date.
type RunDetail struct {
	RunStatus
	PerDay []RunDay `json:"per_day"`
	// PluginLog are the last log lines of the destination's plugin when the last attempt
	// failed, oldest first, at most 20.
	PluginLog []string `json:"plugin_log,omitempty"`
}

// RunDay is a run's part for one date. Of a run that is not committed, Rows and Bytes are
// those of the plan, and the rest is empty.
type RunDay struct {
	Date        string `json:"date"` // empty for a set
	Rows        int64  `json:"rows"`
	Rejected    int64  `json:"rejected"`
	StoredBytes int64  `json:"stored_bytes"`
	Files       int    `json:"files"`
}
