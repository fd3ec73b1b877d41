package pipeline

import (
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Order is the order in which a backfill takes its dates.
type Order string

// The orders.
const (
	Oldest Order = "oldest"
	Newest Order = "newest"
)

// State is the state of a registered pipeline: only an active one runs.
type State string

// The pipeline states.
const (
	Active    State = "active"
	Paused    State = "paused"
	Cancelled State = "cancelled"
)

// Definition holds a pipeline's settings from the configuration. Name, project,
// stream, destination and From are fixed when the pipeline is registered: they
// decide which rows were exported already. To may change: cursors know which dates they
// were made for.
type Definition struct {
	Name        string
	ProjectID   int64
	Stream      batch.Stream
	Destination string // "s3.lake"
	From        journal.Day
	To          journal.Day // inclusive; Forever when open-ended
	Order       Order
	Schedule    Schedule
	LeaveLate   bool  // rows that come too late for their export window are left out
	MaxRunBytes int64 // of blocks as stored
	Paused      bool
	Adopt       bool
}

// Forever is the To of an open-ended pipeline.
const Forever = journal.Day(1<<31 - 1)

// Pipeline is a registered pipeline.
type Pipeline struct {
	Definition
	ID      string // random, 10 characters of [0-9a-z]
	State   State
	Cursor  Cursor
	Fence   int64 // of the latest attempt at any of its runs
	LastRun int64 // number of the latest planned run; 0: none
	// Committed is the destination's last committed run, as far as the catalog
	// knows: the latest run that succeeded, or the one that a recovery found.
	Committed Committed
	CreatedAt time.Time
	PlannedAt time.Time // of the latest run; zero: never
	// LookedAt is when the pipeline was last compared with the journal: when its latest
	// run was planned, or an iteration found nothing left to export. Zero: an iteration
	// is due at once.
	LookedAt time.Time
}

// Committed names a committed run.
type Committed struct {
	Number  int64  // 0: none
	Content string // Run.Content; empty: not known
}

// Unchanged compares def with the registered definition. It returns a
// *ChangedError for the first attribute that differs although it is fixed at
// registration.
func (p *Pipeline) Unchanged(def Definition) error {
	for _, c := range []struct{ attribute, was, is string }{
		{"project", fmt.Sprint(p.ProjectID), fmt.Sprint(def.ProjectID)},
		{"stream", p.Stream.String(), def.Stream.String()},
		{"destination", p.Destination, def.Destination},
		{"from_date", p.From.String(), def.From.String()},
	} {
		if c.was != c.is {
			return &ChangedError{Pipeline: p.Name, Attribute: c.attribute, Was: c.was, Is: c.is}
		}
	}
	return nil
}

// ChangedError says that a configuration changes an attribute of a pipeline
// that is fixed at registration.
type ChangedError struct {
	Pipeline, Attribute, Was, Is string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("pipeline %s was registered with %s = %s and is now configured with %s; "+
		"this is fixed once a pipeline is registered: give the new one another name", e.Pipeline, e.Attribute, e.Was, e.Is)
}
