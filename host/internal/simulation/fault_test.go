//go:build !race

package simulation_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// fault is a mistake that is planted in a world: a host that breaks one rule, as far as
// the world can see. The rooms of the host are the real ones; a fault changes rows of
// the catalog, attributes of the configuration, or answers of a plugin.
type fault struct {
	name     string
	seed     uint64 // with which the world finds it
	finds    string // part of the complaint
	triggers string // of the catalog
	// configure changes a pipeline as the host has it; nil: nothing changes.
	configure func(*config.Pipeline)
	hides     bool // upkeep sees no pipelines
	forgets   bool // events that are sent again have other keys than before
	lies      bool // plugins give their days in the other time zone
	mixes     bool // each attempt at a run brings other bytes
	hurries   bool // retention is shorter than it is configured
}

// faults has one fault for each rule. A rule whose fault is not found is not checked.
var faults = []fault{
	{
		name: "a paused pipeline runs", seed: 1, finds: "although it is paused",
		triggers: `CREATE TRIGGER planted AFTER UPDATE OF state ON pipelines WHEN NEW.state = 'paused'
			BEGIN UPDATE pipelines SET state = 'active' WHERE id = NEW.id; END`,
	},
	{
		name: "a cursor moves without rows", seed: 1, finds: "has yet to export",
		triggers: `CREATE TRIGGER planted AFTER INSERT ON runs WHEN NEW.generation IS NULL
			BEGIN UPDATE runs SET next_cursor = CAST(json_set(next_cursor, '$.live.seq', (next_cursor ->> '$.live.seq') + 1) AS BLOB)
				WHERE pipeline = NEW.pipeline AND number = NEW.number; END`,
	},
	{
		name: "a run is planned twice", seed: 1, finds: "is there already",
		triggers: `CREATE TRIGGER planted AFTER UPDATE OF committed_run ON pipelines WHEN NEW.stream = 'events' AND OLD.committed_run = 0
			BEGIN UPDATE pipelines SET cursor = OLD.cursor WHERE id = NEW.id; END`,
	},
	{name: "retention passes a pinned run", seed: 1, finds: "has yet to export", hides: true},
	{name: "dedup keys are lost", seed: 1, finds: "is in the journal twice", forgets: true},
	{name: "late rows are left out", seed: 1, finds: "has yet to export", configure: func(c *config.Pipeline) { c.LeaveLate = true }},
	{name: "rows are in a wrong day", seed: 1, finds: " brings event ", lies: true},
	{name: "to_date is ignored", seed: 1, finds: "which is not one of its dates", configure: func(c *config.Pipeline) { c.To = pipeline.Forever }},
	{
		name: "two pipelines have one target", seed: 2, finds: "is registered at the place of",
		triggers: `CREATE TRIGGER planted AFTER INSERT ON targets
			BEGIN DELETE FROM targets WHERE pipeline = NEW.pipeline; END`,
	},
	{
		name: "people come from a stale fold", seed: 1, finds: "do not explain",
		triggers: `CREATE TRIGGER planted AFTER UPDATE ON generations WHEN NEW.stream = 'people'
			BEGIN UPDATE generations SET generation = json_set(NEW.generation, '$.seq', (NEW.generation ->> '$.seq') + 1)
				WHERE project = NEW.project AND stream = NEW.stream; END`,
	},
	{
		name: "a set is older than its run", seed: 1, finds: "and was planned after seal",
		triggers: `CREATE TRIGGER planted AFTER INSERT ON runs WHEN NEW.generation IS NOT NULL AND NEW.number > 3
			BEGIN UPDATE runs SET next_cursor = CAST(json_set(next_cursor, '$.live.seq', 1) AS BLOB)
				WHERE pipeline = NEW.pipeline AND number = NEW.number; END`,
	},
	{
		name: "mappings are those of another seal", seed: 1, finds: "do not explain",
		triggers: `CREATE TRIGGER planted AFTER INSERT ON runs WHEN NEW.number > 3 AND (SELECT stream FROM pipelines WHERE id = NEW.pipeline) = 'identity'
			BEGIN UPDATE runs SET next_cursor = CAST(json_set(next_cursor, '$.live.seq', 1) AS BLOB)
				WHERE pipeline = NEW.pipeline AND number = NEW.number; END`,
	},
	{
		name: "a set is older than the one before", seed: 1, finds: "was there",
		triggers: `CREATE TRIGGER planted AFTER INSERT ON runs WHEN NEW.generation IS NOT NULL AND NEW.number > 3
			BEGIN UPDATE runs SET next_cursor = CAST(json_set(next_cursor, '$.live.seq', 1) AS BLOB)
				WHERE pipeline = NEW.pipeline AND number = NEW.number; END`,
	},
	{name: "late rows are exported", seed: 1, finds: "which came too late", configure: func(c *config.Pipeline) { c.LeaveLate = false }},
	{name: "an iteration has no slot", seed: 1, finds: "slot since", configure: func(c *config.Pipeline) {
		if c.Schedule.Cadence == pipeline.Daily {
			c.Schedule.Cadence, c.Schedule.At = pipeline.Hourly, pipeline.HourlyAt
		}
	}},
	{name: "a slot has no iteration", seed: 1, finds: "has had no iteration since", configure: func(c *config.Pipeline) { c.Schedule.MinInterval *= 10 }},
	{name: "an attempt brings other bytes", seed: 1, finds: "sends other bytes", mixes: true},
	{name: "retention removes young rows", seed: 1, finds: ", sealed at ", hurries: true},
	{
		name: "a fence is used twice", seed: 1, finds: "was used already",
		triggers: `CREATE TRIGGER planted AFTER UPDATE OF fence ON pipelines WHEN NEW.fence % 3 = 0
			BEGIN UPDATE pipelines SET fence = fence - 1 WHERE id = NEW.id; END`,
	},
}

// A world finds each fault that is planted in it: otherwise its checks check nothing.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for i := range faults {
		f := &faults[i]
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			seed := f.seed
			if *seedFlag > 0 {
				seed = *seedFlag
			}
			w := live(t, seed, f)
			if !slices.ContainsFunc(w.complaints, func(text string) bool { return strings.Contains(text, f.finds) }) {
				t.Errorf("seed %d does not find it. The world says:\n%s", seed, strings.Join(w.complaints, "\n"))
			}
		})
	}
}

// plant puts the fault's triggers into the catalog.
func (w *world) plant() {
	if w.planted == nil || w.planted.triggers == "" {
		return
	}
	w.must(w.life.catalog.Update(w.ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(w.ctx, w.planted.triggers)
		return err
	}))
}

// asConfigured returns a pipeline as the host has it.
func (w *world) asConfigured(c *config.Pipeline) *config.Pipeline {
	if w.planted == nil || w.planted.configure == nil {
		return c
	}
	if w.changed[c] == nil {
		changed := *c
		w.planted.configure(&changed)
		w.changed[c] = &changed
	}
	return w.changed[c]
}

// keyOf returns the dedup key of an event, which may be sent again.
func (w *world) keyOf(id string, again bool) journal.Key {
	if again && w.planted != nil && w.planted.forgets {
		id += " again"
	}
	return keyOf(id)
}

// lies reports whether plugins give their days in the other time zone.
func (w *world) lies() bool { return w.planted != nil && w.planted.lies }

// mixes reports whether each attempt at a run brings other bytes.
func (w *world) mixes() bool { return w.planted != nil && w.planted.mixes }

// retention returns how long the host keeps rows.
func (w *world) retention() time.Duration {
	if w.planted != nil && w.planted.hurries {
		return retention / 2
	}
	return retention
}

// hides reports whether upkeep sees no pipelines. Its passes are not killed then, since the
// pipelines could not be shown again.
func (w *world) hides() bool { return w.planted != nil && w.planted.hides }

// hide hides pipelines from upkeep, until restore is called.
func (w *world) hide() (restore func()) {
	if !w.hides() {
		return func() {}
	}
	all, err := w.life.catalog.Pipelines(w.ctx)
	w.must(err)
	for _, p := range all {
		w.setState(p.Name, pipeline.Cancelled)
	}
	return func() {
		for _, p := range all {
			w.setState(p.Name, p.State)
		}
	}
}

func (w *world) setState(name string, state pipeline.State) {
	err := w.life.catalog.Update(w.ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(w.ctx, `UPDATE pipelines SET state = ? WHERE name = ?`, string(state), name)
		return err
	})
	if w.life.alive() == nil {
		w.must(err)
	}
}
