package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Config is a whole configuration.
type Config struct {
	Host         Host
	Projects     []*Project
	Sources      []*Source
	Destinations []*Destination
	Pipelines    []*Pipeline

	// Skipped names checks that were left out, and why.
	Skipped []string
	// Files are the bytes of what was read, for diagnostics.
	Files diagnostic.Sources
}

// Host is the host block.
type Host struct {
	DataDir   string
	PluginDir string
	Memory    int64
	// MaxBackfill is how many months a pipeline may reach back when it is first
	// registered, or, when it is set as a duration, how long.
	MaxBackfill Backfill
	LogLevel    string
	LogFormat   string
}

// Backfill is a span of calendar months or of time.
type Backfill struct {
	Months int
	Time   time.Duration
	Text   string // as it was written
}

// Before is the date that lies the span before now.
func (b Backfill) Before(now time.Time) journal.Day {
	return journal.DayOf(now.UTC().AddDate(0, -b.Months, 0).Add(-b.Time).Unix())
}

// Project is a project block.
type Project struct {
	Name     string
	ID       int64
	Token    string
	TimeZone *time.Location
	Identity string
	Range    hcl.Range
}

// Source is a source block of type files.
type Source struct {
	Name    string
	Project *Project
	Pattern string // absolute, or with a scheme
	Follow  bool
	Range   hcl.Range
}

// Reference is how other blocks and cursors name the source.
func (s *Source) Reference() string { return "files." + s.Name }

// Destination is a destination block.
type Destination struct {
	Type, Name string
	// JSON holds the attributes as constants, defaults applied. It is empty
	// when the schema was not known.
	JSON  []byte
	Range hcl.Range

	attributes map[string]hcl.Range
}

// Reference is how pipelines name the destination.
func (d *Destination) Reference() string { return d.Type + "." + d.Name }

// AttributeRange is where an attribute stands, or the block when it was not
// set.
func (d *Destination) AttributeRange(name string) hcl.Range {
	if r, ok := d.attributes[name]; ok {
		return r
	}
	return d.Range
}

// Pipeline is a pipeline block.
type Pipeline struct {
	Name        string
	Project     *Project
	Stream      batch.Stream
	Destination *Destination
	From, To    journal.Day // To is pipeline.Forever when open-ended
	Frequency   time.Duration
	Order       pipeline.Order
	MaxRun      int64
	Paused      bool
	Adopt       bool
	Range       hcl.Range
	FromRange   hcl.Range
}
