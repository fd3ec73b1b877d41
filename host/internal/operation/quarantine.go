package operation

import "time"

// QuarantineStatus counts the quarantined records of all sources and pipelines.
type QuarantineStatus struct {
	Bytes  int64             `json:"bytes"` // of its files
	Cap    int64             `json:"cap"`   // beyond it records are only counted
	Counts []QuarantineCount `json:"counts"`
	QuarantineLosses
}

// QuarantineLosses are records that were kept in files of the quarantine and are
// gone, although they were neither replayed nor dropped.
type QuarantineLosses struct {
	MissingRecords int64               `json:"missing_records,omitempty"`
	Missing        []QuarantineMissing `json:"missing,omitempty"` // the first 100 files
}

// QuarantineMissing is a file of the quarantine that has lost records.
type QuarantineMissing struct {
	Source  string           `json:"source"`
	File    string           `json:"file"` // relative to the data directory
	Records int64            `json:"records"`
	Reasons map[string]int64 `json:"reasons"` // why the records were refused
	// Consequence names the loss, and where the records can be read again.
	Consequence string `json:"consequence"`
}

// DropReport counts the records that were dropped from quarantine.
type DropReport struct {
	Records int64             `json:"records"`
	Counts  []QuarantineCount `json:"counts"`
}

// QuarantineList holds some quarantined records, and counts of all.
type QuarantineList struct {
	Counts  []QuarantineCount   `json:"counts"`
	Records []QuarantinedRecord `json:"records"`
	QuarantineLosses
}

// QuarantineCount counts refused records by source and reason.
type QuarantineCount struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
	// Truncated and OnlyCounted are parts of Count: records of which only the
	// beginning is kept, and records of which nothing is kept, because the
	// quarantine was full. Neither can be replayed.
	Truncated   int64 `json:"truncated,omitempty"`
	OnlyCounted int64 `json:"only_counted,omitempty"`
}

// QuarantinedRecord is a record that was refused.
type QuarantinedRecord struct {
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Time     time.Time `json:"time"`
	Position string    `json:"position"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"`
	Size     int64     `json:"size"` // bytes of the record that are kept
	// Truncated means that only the beginning of the record is kept: it cannot be
	// replayed. OriginalSize is then its number of bytes as it came; 0: not known.
	Truncated    bool  `json:"truncated,omitempty"`
	OriginalSize int64 `json:"original_size,omitempty"`
	// Bytes are the record, in a list of several records its first 1,024 bytes.
	Bytes []byte `json:"bytes"`
}

// ReplayReport counts replayed records by outcome.
type ReplayReport struct {
	Records   int64 `json:"records"`
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"`
	Truncated int64 `json:"truncated"` // part of Refused: only their beginning is kept
	Repaired  int64 `json:"repaired"`  // of those accepted: see SourceStatus
}
