package config

import (
	"log/slog"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Config is a whole configuration, defaults applied.
type Config struct {
	Host         Host
	API          API
	Projects     []*Project
	Sources      []*Source
	Collectors   []*Collector
	Mixpanel     []*Mixpanel
	Destinations []*Destination
	Pipelines    []*Pipeline

	// Skipped names the checks that were left out offline, and why.
	Skipped []string
	// Unset names variables and files that a command did not find and does not
	// need:
	// "env(\"S3_SECRET\")".
	Unset []string
	// Files are the texts of the files that were read, for diagnostics, with
	// secrets masked.
	Files diagnostic.Sources
}

// Place is where a block stands.
type Place struct {
	Range hcl.Range // of the block's head
	// Incomplete means that the block has a mistake. Attributes may have other values than
	// those that were meant: further checks of them would report the mistake twice.
	Incomplete bool
	attributes map[string]hcl.Range
	shown      shownTexts
}

// place returns the place of a block.
func (p Place) place() Place { return p }

// AttributeRange is where an attribute's value stands, or the block when it
// was not set.
func (p Place) AttributeRange(name string) hcl.Range {
	if r, ok := p.attributes[name]; ok {
		return r
	}
	return p.Range
}

// Host is the host block.
type Host struct {
	Place
	DataDir   string // absolute
	PluginDir string // absolute
	Blobs     string // absolute: where segments are
	// PluginUser is the user of the system that plugins run as; "": the host's own.
	PluginUser string
	Memory     int64 // bytes
	// MaxBackfill is how far a pipeline may reach back when it is first
	// registered.
	MaxBackfill Backfill
	// Retention is how long rows are kept: by their dates, and since they were sealed.
	Retention time.Duration
	LogLevel  slog.Level
	LogJSON   bool // the log has JSON lines, otherwise text
}

// API is the api block of the host block.
type API struct {
	Place
	Listen          string // host:port; "": the host serves its socket only
	Token           Secret // that requests carry; not "" with Listen
	TLSCert, TLSKey string // absolute; "": none
}

// Backfill is a span of calendar months or of time.
type Backfill struct {
	Months int
	Time   time.Duration
	Text   string // as it was written
}

// Before is the date that lies the span before now, in UTC.
func (b Backfill) Before(now time.Time) journal.Day {
	return journal.DayOf(monthsBefore(now.UTC(), b.Months).Add(-b.Time).Unix())
}

// monthsBefore is the same day of an earlier month, or that month's last: six
// months before 31 August is 28 or 29 February.
func monthsBefore(t time.Time, months int) time.Time {
	if months == 0 {
		return t
	}
	first := time.Date(t.Year(), t.Month()-time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	length := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), length)-1)
}

// Project is a project block.
type Project struct {
	Place
	Name     string
	ID       int64
	Token    string // "": none. It is public
	TimeZone *time.Location
	Identity schema.Identity
	// ProfilesPulled means that a source of type mixpanel writes the project's
	// profiles; otherwise collectors and files do.
	ProfilesPulled bool

	hasToken bool // also when its value is not known to a command
}

// Legacy reports whether events of the project are stored under the ids that their ids
// are aliases for.
func (p *Project) Legacy() bool { return p.Identity == schema.Legacy }

// Source is a source block of type files.
type Source struct {
	Place
	Name    string
	Project *Project
	Pattern string       // absolute, or with a scheme
	Records batch.Stream // Events or People
	Follow  bool
	// Local says that times of events are the wall clock of the project's zone.
	Local bool
}

// Reference is how other blocks and cursors name the source.
func (s *Source) Reference() string { return "files." + s.Name }

// Destination is a destination block.
type Destination struct {
	Place
	Type, Name string
	// JSON holds the attributes as constants, defaults applied. It is empty
	// when the schema was not known.
	JSON Constants
	// Complete means that the body was read and has no mistake.
	Complete bool
	// Unknown lists the attributes that are set and have no value here, such as an
	// env() of a variable that is not set. JSON does not have them.
	Unknown []string

	// hide takes secrets out of a text. It is a function because fields of
	// other types print.
	hide func(string) string
}

// Reference is how pipelines name the destination.
func (d *Destination) Reference() string { return d.Type + "." + d.Name }

// Pipeline is a pipeline block.
type Pipeline struct {
	Place
	Name        string
	Project     *Project
	Stream      batch.Stream
	Destination *Destination
	From, To    journal.Day // To is pipeline.Forever when open-ended
	Schedule    pipeline.Schedule
	LeaveLate   bool  // of events: sync = false
	RateLimit   int64 // bytes of blocks as stored that are sent in a second, at most; 0: no limit
	Order       pipeline.Order
	MaxRun      int64 // bytes of blocks as stored
	Paused      bool
	Adopt       bool
	AllowShrink bool // of people and identity
}
