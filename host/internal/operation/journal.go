package operation

import "time"

// SegmentStatus is one segment of a journal.
type SegmentStatus struct {
	Project  string         `json:"project"`
	Sequence int64          `json:"sequence"`
	Blob     string         `json:"blob"`
	Rows     int64          `json:"rows"`
	Removed  int64          `json:"removed_rows,omitempty"` // by retention
	Bytes    int64          `json:"bytes"`                  // of the file that the seal wrote
	SealedAt time.Time      `json:"sealed_at"`
	Extents  []ExtentStatus `json:"extents"`
}

// ExtentStatus is one extent of a segment.
type ExtentStatus struct {
	Kind     string `json:"kind"`
	UTCDate  string `json:"utc_date"`
	ZoneDate string `json:"zone_date"`
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`
}

// JournalReport is the result of a verification of the journal.
type JournalReport struct {
	Segments int64 `json:"segments"`
	Blocks   int64 `json:"blocks"`
	Bytes    int64 `json:"bytes"`
	// QuarantineFiles is how many files of quarantined records were read.
	QuarantineFiles int64        `json:"quarantine_files"`
	Corruptions     []Corruption `json:"corruptions"`
	// Lost are missing parts of the write-ahead logs of collectors.
	Lost []LogLoss `json:"lost,omitempty"`
	// CatalogFailed means that the catalog does not list all that the journal holds:
	// it was lost, or is an old copy. Corruptions says more.
	CatalogFailed bool `json:"catalog_failed,omitempty"`
}

// Corruption is one corrupt part of a file.
type Corruption struct {
	Blob   string `json:"blob"`
	Place  string `json:"place"` // "block 17", "footer"
	Detail string `json:"detail"`
	// Rows are those that may be lost, of the UTC dates From to To; 0: none, or
	// not known.
	Rows int64  `json:"rows,omitempty"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}
