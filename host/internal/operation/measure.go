package operation

import "time"

// Measures are the numbers of a serving host that metrics show. Counts that are not
// totals of the data directory begin with the host.
type Measures struct {
	Version   string
	Ready     []Readiness
	Journals  []JournalMeasure
	Sources   []SourceMeasure
	Pipelines []PipelineMeasure
	Plugins   []PluginMeasure
	Disks     []DiskMeasure
	// QuarantineBytes are those of the quarantine's files, of QuarantineCap at most.
	QuarantineBytes, QuarantineCap int64
}

// JournalMeasure is of the journal of one project.
type JournalMeasure struct {
	Project          string
	Bytes            int64 // of files of segments
	Kept, Duplicates int64 // rows that were sealed or left out since the journal was opened last
}

// SourceMeasure is of one source.
type SourceMeasure struct {
	Source string
	// Records counts records by outcome since the host started: accepted, refused, and
	// further ones of collectors, as in RecordCount.
	Records map[string]int64
	// Quarantined counts refused records by reason, over all time.
	Quarantined map[string]int64
	Collector   *CollectorStatus // nil: the source is of another type
}

// PipelineMeasure is of one configured pipeline.
type PipelineMeasure struct {
	Pipeline string
	Paused   bool // by a person or the configuration, or cancelled
	// Waiting is since when the oldest row waits that is not exported: since it was
	// sealed, or since the pipeline was registered. Zero: none waits.
	Waiting time.Time
	// Succeeded is when the last run ended that was exported; zero: none was.
	Succeeded time.Time
	// The attempts at runs since the host started, and how long those that succeeded took.
	Attempts Attempts
}

// Attempts counts attempts at runs by their results.
type Attempts struct {
	Succeeded, Retried, Failed int64
	Took                       time.Duration // of those that succeeded, together
}

// PluginMeasure is of the plugin of one destination.
type PluginMeasure struct {
	Destination string // "s3.lake"
	Restarts    int64  // after its process had ended by itself
}

// DiskMeasure is of the disk of a directory of the host.
type DiskMeasure struct {
	Directory  string // data_dir or blobs
	Free, Size int64  // bytes
}
