package operation

// Summary lists the work of RunOnce.
type Summary struct {
	Sources   []SourceSummary   `json:"sources"`
	Pipelines []PipelineSummary `json:"pipelines"`
	// Missing are segments that the catalog lists and that are not on the disk.
	Missing []MissingSegments `json:"missing,omitempty"`
}

// SourceSummary counts the records of one source.
type SourceSummary struct {
	Name        string            `json:"name"`
	Records     int64             `json:"records"`
	Rows        int64             `json:"rows"` // new in the journal
	Duplicates  int64             `json:"duplicates"`
	Repaired    int64             `json:"repaired"` // records in which U+FFFD replaces half characters
	Bytes       int64             `json:"bytes"`
	Warning     string            `json:"warning,omitempty"`    // how the data contradicts the configuration
	Matched     int               `json:"matched"`              // files that the path names
	NoFile      string            `json:"no_file,omitempty"`    // "… matches no file (yet)", with a hint
	Recognised  int               `json:"recognised,omitempty"` // files that hold records that were read under another name
	Waiting     []string          `json:"waiting,omitempty"`    // files whose last record is not complete
	Skipped     []string          `json:"skipped,omitempty"`    // paths that match and were not read, and why
	Quarantined []QuarantineCount `json:"quarantined,omitempty"`
	Days        int               `json:"days,omitempty"`     // that were pulled
	Queries     int               `json:"queries,omitempty"`  // for them
	Profiles    *int64            `json:"profiles,omitempty"` // that were read; nil: none were
	Error       string            `json:"error,omitempty"`
}

// PipelineSummary counts the exported rows of one pipeline.
type PipelineSummary struct {
	Name        string           `json:"name"`
	Stream      string           `json:"stream"`
	Destination string           `json:"destination"`
	Runs        int              `json:"runs"`
	Rows        int64            `json:"rows"`
	Rejected    int64            `json:"rejected"`
	Changed     map[string]int64 `json:"changed,omitempty"`  // by reason, as in PipelineStatus
	LeftOut     int64            `json:"left_out,omitempty"` // late rows that were passed with sync = false
	Objects     int              `json:"objects"`
	StoredBytes int64            `json:"stored_bytes"`
	Places      []string         `json:"places,omitempty"` // the first few objects
	Error       string           `json:"error,omitempty"`
	// State is paused or cancelled if no run was planned because of it, and Waiting
	// counts the rows of the journal that are not exported yet; of a set, changes.
	State   string `json:"state,omitempty"`
	Waiting int64  `json:"waiting,omitempty"`
	// Outside counts rows of the journal that lie outside the pipeline's dates. Nil:
	// there are none.
	Outside *OutsideDates `json:"outside,omitempty"`
}
