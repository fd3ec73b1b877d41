package host

import (
	"context"
	"time"
)

// Views are the requests of commands that only look. Look returns them. The
// caller closes them.
type Views interface {
	Status(ctx context.Context) (*Status, error)
	Plan(ctx context.Context) ([]PlannedRun, error)
	Pipelines(ctx context.Context) ([]PipelineStatus, error)
	Runs(ctx context.Context, pipeline string) ([]RunStatus, error)
	Segments(ctx context.Context) ([]SegmentStatus, error)
	VerifyJournal(ctx context.Context) (*JournalReport, error)
	Quarantine(ctx context.Context, filter QuarantineFilter) (*QuarantineList, error)
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

	ReplayQuarantine(ctx context.Context, filter QuarantineFilter) (*ReplayReport, error)
	// DropQuarantine removes records for good.
	DropQuarantine(ctx context.Context, filter QuarantineFilter) (*DropReport, error)
}

// Status describes the contents of a data directory and its pipelines.
type Status struct {
	Version string `json:"version"`
	DataDir string `json:"data_dir"`
	// DataDirMissing means that the data directory does not exist.
	DataDirMissing bool              `json:"data_dir_missing,omitempty"`
	Running        bool              `json:"running"` // a host serves it
	Projects       []ProjectStatus   `json:"projects"`
	Sources        []SourceStatus    `json:"sources"`
	Collectors     []CollectorStatus `json:"collectors"`
	Pulls          []PullStatus      `json:"pulls"`
	Quarantine     QuarantineStatus  `json:"quarantine"`
	Pipelines      []PipelineStatus  `json:"pipelines"`
}

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

// ProjectStatus describes a project's journal.
type ProjectStatus struct {
	Name     string `json:"name"`
	ID       int64  `json:"id"`
	TimeZone string `json:"time_zone"`
	Sequence int64  `json:"sequence"`
	Segments int64  `json:"segments"`
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`
	// Identity is nil when no identity links were folded yet.
	Identity *IdentityStatus `json:"identity,omitempty"`
	// Failing says why the journal takes nothing now; "": it does.
	Failing string `json:"failing,omitempty"`
	// Missing is nil when all segments that the catalog lists are there.
	Missing *MissingSegments `json:"missing,omitempty"`
}

// MissingSegments sums up segments of a project that the catalog lists and that
// are not on the disk: rows that may be lost.
type MissingSegments struct {
	Project  string `json:"project"`
	Segments int64  `json:"segments"`
	Rows     int64  `json:"rows"`
	From     string `json:"from"` // UTC dates of the rows
	To       string `json:"to"`
	First    string `json:"first"` // the first of them
}

// Pause is the result of PausePipeline.
type Pause struct {
	Pipeline   string `json:"pipeline"`
	Paused     bool   `json:"paused"`               // no run is planned
	Changed    bool   `json:"changed"`              // it was not so before
	Configured string `json:"configured,omitempty"` // where the configuration pauses it: "penstock.hcl:24"
	Removed    bool   `json:"removed,omitempty"`    // it is not in the configuration: no run is planned either way
}

// IdentityStatus counts a project's folded identity links.
type IdentityStatus struct {
	Sequence int64            `json:"sequence"` // of the journal, up to which they are folded
	IDs      int64            `json:"ids"`      // that were linked
	Mappings int64            `json:"mappings"`
	Refused  map[string]int64 `json:"refused,omitempty"` // by reason
}

// SourceStatus describes how far a source was read.
type SourceStatus struct {
	Name        string           `json:"name"`                  // "files.import"
	Positions   int64            `json:"positions"`             // files that were read, wholly or in part
	Replaced    int64            `json:"replaced,omitempty"`    // contents that are remembered although other files have replaced them; of people only
	Warning     string           `json:"warning,omitempty"`     // too many files are remembered
	Unread      *Unread          `json:"unread,omitempty"`      // nil: everything was read
	Repaired    int64            `json:"repaired"`              // records in which U+FFFD replaces half characters
	Waiting     []string         `json:"waiting,omitempty"`     // files whose last record is not complete
	NoFile      string           `json:"no_file,omitempty"`     // "… matches no file (yet)", with a hint; "" if its path names one
	Quarantined map[string]int64 `json:"quarantined,omitempty"` // by reason
}

// PullStatus describes a source that pulls.
type PullStatus struct {
	Name     string `json:"name"` // "mixpanel.pull"
	Project  string `json:"project"`
	From     string `json:"from"`                // first day to pull
	Done     int    `json:"days_done"`           // days before today that were pulled after their end
	Missing  int    `json:"days_missing"`        // days before today that were not
	InFlight string `json:"in_flight,omitempty"` // the days that are being pulled
	Fetched  int64  `json:"fetched,omitempty"`   // bytes of them
	// The next query: its days, why they are pulled (recent, today, again, backlog),
	// and when it is sent at the earliest.
	Next          string    `json:"next"`
	Why           string    `json:"why"`
	NextAt        time.Time `json:"next_at"`
	WaitsForLimit bool      `json:"waits_for_limit,omitempty"`
	QueriesLeft   int       `json:"queries_left"` // of this hour's
	// CaughtUpAt is when no day is missing, at about the pace so far; nil: none is
	// missing, or it is too far away.
	CaughtUpAt     *time.Time       `json:"caught_up_at,omitempty"`
	CatchUpQueries int              `json:"catch_up_queries,omitempty"`
	Error          string           `json:"error,omitempty"`       // of the last query
	ProfilesAt     *time.Time       `json:"profiles_at,omitempty"` // when profiles were read last; nil: never
	Profiles       int64            `json:"profiles,omitempty"`
	Quarantined    map[string]int64 `json:"quarantined,omitempty"` // by reason
}

// SourceCheck is the result of trying a source that pulls.
type SourceCheck struct {
	Source string      `json:"source"`
	Server string      `json:"server"`
	Days   []SourceDay `json:"days"`
	Error  string      `json:"error,omitempty"`
	// Kind is unauthorized, no_plan, rate_limited, bad_request, wrong_region,
	// unavailable or truncated.
	Kind string `json:"kind,omitempty"`
}

// SourceDay counts the events of a day at a source.
type SourceDay struct {
	Day    string `json:"day"`
	Events int64  `json:"events"`
	Bytes  int64  `json:"bytes"`
}

// CollectorStatus counts the requests of a collector since its host started.
type CollectorStatus struct {
	Name        string           `json:"name"` // "collector.web"
	Listening   bool             `json:"listening"`
	Listen      string           `json:"listen"` // with the port that was given to port 0
	TLS         bool             `json:"tls"`
	LogBytes    int64            `json:"log_bytes"` // of the write-ahead log, on disk
	Waiting     *int64           `json:"waiting"`   // requests in the log that are not yet durable in journals
	Requests    []RequestCount   `json:"requests"`
	Records     []RecordCount    `json:"records"`
	Quarantined map[string]int64 `json:"quarantined,omitempty"` // by reason, over all time
	Lost        []LogLoss        `json:"lost,omitempty"`
	Failing     string           `json:"failing,omitempty"` // why requests are answered 503 now
}

// LogLoss says that a part of a collector's write-ahead log is missing that
// clients were told is stored.
type LogLoss struct {
	Source string    `json:"source"`         // "collector.web"
	Time   time.Time `json:"time"`           // when it was found
	First  uint64    `json:"first"`          // requests that are missing, by their number in the log
	Last   uint64    `json:"last,omitempty"` // 0: it is not known how many there were
	Detail string    `json:"detail"`
	Cut    string    `json:"cut,omitempty"`   // file that holds half an entry that was cut
	Noted  string    `json:"noted,omitempty"` // file that says so until it is removed; "": the next start of a host notes it
}

// RequestCount counts requests by how they were answered.
type RequestCount struct {
	Endpoint string `json:"endpoint"` // track, import, engage, groups; other: a path that is not served
	Status   int    `json:"status"`
	Reason   string `json:"reason,omitempty"` // why they were refused as a whole; "": they were not
	Requests int64  `json:"requests"`
}

// RecordCount counts records by outcome.
type RecordCount struct {
	Project  string `json:"project,omitempty"` // "": not known
	Endpoint string `json:"endpoint"`
	Outcome  string `json:"outcome"` // accepted, repaired, ignored, groups, links, invalid_link, or why it was refused
	Records  int64  `json:"records"`
}

// PipelineStatus describes a registered pipeline and its last and next run.
type PipelineStatus struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	Stream      string `json:"stream"`
	Destination string `json:"destination"`
	// State is active, running, retrying, interrupted (a run was not finished
	// when its host ended), failed, refused (see Refused), paused, or removed
	// (from the configuration).
	State      string     `json:"state"`
	Phase      string     `json:"phase"` // backfill or live; full set
	Sequence   int64      `json:"sequence"`
	Behind     int64      `json:"behind"`      // seals of the journal that were not considered yet
	BehindRows int64      `json:"behind_rows"` // rows of the journal that are not exported yet; of a set, changes
	Runs       int64      `json:"runs"`
	Rows       int64      `json:"rows"` // at the destination
	Rejected   int64      `json:"rejected"`
	LastRun    *RunStatus `json:"last_run,omitempty"`
	NextRunAt  *time.Time `json:"next_run_at,omitempty"` // in the past: as soon as there are rows; nil: there will be none
	Refused    string     `json:"refused,omitempty"`     // why the next run waits for a person
	Error      string     `json:"error,omitempty"`       // why the serving host could not plan or begin a run; it retries at NextRunAt
}

// RunStatus is one run.
type RunStatus struct {
	Pipeline   string     `json:"pipeline"`
	Number     int64      `json:"number"`
	State      string     `json:"state"` // planned, running, retrying, interrupted, failed or succeeded
	From       string     `json:"from"`  // "" for a full set
	To         string     `json:"to"`
	Days       int        `json:"days"`
	Rows       int64      `json:"rows"`
	Bytes      int64      `json:"bytes"`
	Rejected   int64      `json:"rejected"`
	Fence      int64      `json:"fence"`
	PlannedAt  time.Time  `json:"planned_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Error      string     `json:"error,omitempty"`
	// ErrorClass is the class of Error: retryable, permanent, configuration or
	// fenced. A person must act on permanent and configuration errors; the run is
	// tried again by the next start of a host.
	ErrorClass string `json:"error_class,omitempty"`
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
	Changes   int64  `json:"changes,omitempty"`
	Unchanged bool   `json:"unchanged,omitempty"` // the set is at the destination already: there will be no run
	Refused   string `json:"refused,omitempty"`   // see PipelineStatus
	State     string `json:"state"`               // see PipelineStatus; "unregistered" before the first run
	// Unread are sources of the project that are not wholly in the journal: their
	// rows are not in Rows.
	Unread []Unread `json:"unread,omitempty"`
}

// Unread is a part of a source that is not in the journal yet.
type Unread struct {
	Source   string `json:"source"`             // "files.import"
	Files    int    `json:"files,omitempty"`    // with something to read
	Bytes    int64  `json:"bytes,omitempty"`    // to read, as stored, or in a collector's log
	Requests int64  `json:"requests,omitempty"` // in a collector's log
	Error    string `json:"error,omitempty"`    // why it is not known
	// Days before today that a source has not pulled, and when it will have at about
	// the pace so far; nil: not known.
	Days       int        `json:"days,omitempty"`
	CaughtUpAt *time.Time `json:"caught_up_at,omitempty"`
}

// PlannedDay is a planned run's part for one date.
type PlannedDay struct {
	Date  string `json:"date"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
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

// SegmentStatus is one segment of a journal.
type SegmentStatus struct {
	Project  string         `json:"project"`
	Sequence int64          `json:"sequence"`
	Blob     string         `json:"blob"`
	Rows     int64          `json:"rows"`
	Bytes    int64          `json:"bytes"`
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
	// CatalogFailed means that the catalog does not list what the journal holds:
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

// QuarantineFilter picks quarantined records.
type QuarantineFilter struct {
	Source string `json:"source,omitempty"` // "" for all
	Reason string `json:"reason,omitempty"`
	ID     string `json:"id,omitempty"`
	Limit  int    `json:"limit,omitempty"` // of a list; 0: 100
	// Before picks records that were refused before a time; zero: all.
	Before time.Time `json:"before,omitzero"`
	// Missing picks lost records instead of those that are there: DropQuarantine
	// then forgets them.
	Missing bool `json:"missing,omitempty"`
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

// IdentityFilter picks refused identity links.
type IdentityFilter struct {
	Project string `json:"project,omitempty"` // "" for all
	Limit   int    `json:"limit,omitempty"`   // of each project, the latest; 0: all that are kept
}

// IdentityFailures are refused identity links, the latest of each project
// first, and counts of all.
type IdentityFailures struct {
	Counts   []IdentityCount   `json:"counts"`
	Failures []IdentityFailure `json:"failures"`
}

// IdentityCount counts refused links by project and reason.
type IdentityCount struct {
	Project string `json:"project"`
	Reason  string `json:"reason"`
	Count   int64  `json:"count"`
}

// IdentityFailure is a link that was refused.
type IdentityFailure struct {
	Project      string    `json:"project"`
	Time         time.Time `json:"time"` // when it was accepted
	Reason       string    `json:"reason"`
	Description  string    `json:"description"`
	Verb         string    `json:"verb"` // link, identify, alias or merge
	AnonymousID  string    `json:"anonymous_id"`
	IdentifiedID string    `json:"identified_id"`
}

// Report is progress of one activity.
type Report struct {
	Stage       string `json:"stage"` // import, pull, seal, fold, export
	Name        string `json:"name"`
	Rows        int64  `json:"rows"`
	Bytes       int64  `json:"bytes"`
	Total       int64  `json:"total,omitempty"` // of Bytes; 0: not known
	Duplicates  int64  `json:"duplicates,omitempty"`
	Quarantined int64  `json:"quarantined,omitempty"`
	Done        bool   `json:"done,omitempty"`
	Text        string `json:"text,omitempty"` // a message instead of numbers
}

// Observer is told of progress, from any goroutine.
type Observer interface {
	Report(Report)
}
