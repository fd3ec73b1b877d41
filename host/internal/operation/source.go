package operation

import "time"

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
	CaughtUpAt     *time.Time `json:"caught_up_at,omitempty"`
	CatchUpQueries int        `json:"catch_up_queries,omitempty"`
	// SelectsLate is whether late events are asked for by the time at which Mixpanel
	// processed them; NotSelected is why not, after a trial.
	SelectsLate bool             `json:"selects_late"`
	NotSelected string           `json:"not_selected,omitempty"`
	Error       string           `json:"error,omitempty"`       // of the last query
	ProfilesAt  *time.Time       `json:"profiles_at,omitempty"` // when profiles were read last; nil: never
	Profiles    int64            `json:"profiles,omitempty"`
	Quarantined map[string]int64 `json:"quarantined,omitempty"` // by reason
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
	Name        string           `json:"name"`              // "collector.web"
	Leaving     bool             `json:"leaving,omitempty"` // it is not configured, and its log has rows that are not in journals
	Listening   bool             `json:"listening"`
	Listen      string           `json:"listen"` // with the port that was given to port 0
	TLS         bool             `json:"tls"`
	LogBytes    int64            `json:"log_bytes"` // of the write-ahead log, on disk
	Waiting     *int64           `json:"waiting"`   // requests in the log that are not yet durable in journals
	Requests    []RequestCount   `json:"requests"`
	Records     []RecordCount    `json:"records"`
	Quarantined map[string]int64 `json:"quarantined,omitempty"` // by reason, over all time
	Lost        []LogLoss        `json:"lost,omitempty"`
	Failing     string           `json:"failing,omitempty"` // why requests are answered 503 now, or why it does not listen yet
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

// Unread is a part of a source that is not in the journal yet.
type Unread struct {
	Source string `json:"source"`          // "files.import"
	Files  int    `json:"files,omitempty"` // with something to read
	// NextStart means that the running host has read the source to its end and looks
	// for no further files: it reads these at its next start, or once a reload has set
	// follow = true.
	NextStart bool `json:"next_start,omitempty"`
	// Skipped are paths that match and that are not read, each with the reason: the
	// first 20. SkippedPaths is the number of all. They are not in Files.
	Skipped      []string `json:"skipped,omitempty"`
	SkippedPaths int      `json:"skipped_paths,omitempty"`
	Bytes        int64    `json:"bytes,omitempty"`    // to read, as stored, or in a collector's log
	Requests     int64    `json:"requests,omitempty"` // in a collector's log
	Error        string   `json:"error,omitempty"`    // why it is not known
	// Days before today that a source has not pulled, and when it will have at about
	// the pace so far; nil: not known.
	Days       int        `json:"days,omitempty"`
	CaughtUpAt *time.Time `json:"caught_up_at,omitempty"`
}
