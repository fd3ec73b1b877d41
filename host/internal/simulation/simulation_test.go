//go:build !race

package simulation_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

var (
	seedFlag  = flag.Uint64("simulation.seed", 0, "run this seed alone, and print its story")
	seedsFlag = flag.Uint64("simulation.seeds", 5, "number of seeds")
	firstFlag = flag.Uint64("simulation.first", 1, "first seed")
)

// Half a year of a host, with each seed another one: see the package's comment.
func TestHalfAYear(t *testing.T) {
	t.Parallel()
	first, last := *firstFlag, *firstFlag+*seedsFlag-1
	if *seedFlag > 0 {
		first, last = *seedFlag, *seedFlag
	}
	sums := map[string]int64{}
	t.Run("seeds", func(t *testing.T) {
		results := make(chan map[string]int64, last-first+1)
		t.Cleanup(func() {
			close(results)
			for r := range results {
				for name, n := range r {
					sums[name] += n
				}
			}
		})
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				_, counts := liveThrough(t, seed)
				results <- counts
			})
		}
	})
	t.Logf("%d seeds: %v", last-first+1, sums)
	for name, n := range sums {
		if n == 0 && last-first >= 4 {
			t.Errorf("no seed has any %s", name)
		}
	}
}

// The same seed does the same things: its runs, their times and their rows are the same.
func TestTheSeedDecides(t *testing.T) {
	t.Parallel()
	const seed = 3
	one, _ := liveThrough(t, seed)
	two, _ := liveThrough(t, seed)
	if one != two {
		t.Errorf("two lives with seed %d differ:\n%s", seed, difference(one, two))
	}
}

func difference(one, two string) string {
	a, b := strings.Split(one, "\n"), strings.Split(two, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n%s\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(a), len(b))
}

// liveThrough returns the story of a seed, pipeline by pipeline, and counts of its events.
func liveThrough(t *testing.T, seed uint64) (story string, counts map[string]int64) {
	w := live(t, seed, nil)
	if t.Failed() {
		t.Logf("again: go test ./host/internal/simulation -run TestHalfAYear -simulation.seed=%d", seed)
	}
	story = w.story()
	if *seedFlag > 0 && testing.Verbose() {
		t.Log(story)
	}
	return story, w.counts()
}

// live lets a host live through half a year, or until the world complains. The fault is
// planted in it; nil: none is.
func live(t *testing.T, seed uint64, planted *fault) (w *world) {
	dir := temporary(t)
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, dir, planted)
		for end := w.now().AddDate(0, 6, 0); w.now().Before(end) && w.failed.Load() == 0; {
			w.step()
			w.act()
		}
		if w.failed.Load() == 0 {
			w.drain()
		}
		w.life.stop()
	})
	return w
}

// temporary returns a directory, in memory where the machine has such a file system:
// hosts are killed here, and machines are not.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "penstock-simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// zones in which the half-years are lived.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}

// starts are the first days of the half-years: with the one or the other change of the
// clocks in them, and with a leap day.
var starts = []time.Time{
	time.Date(2026, 2, 20, 8, 0, 0, 0, time.UTC), time.Date(2026, 8, 15, 23, 10, 0, 0, time.UTC), time.Date(2027, 12, 20, 16, 40, 0, 0, time.UTC),
}

func newWorld(t *testing.T, seed uint64, dir string, planted *fault) *world {
	w := &world{
		planted: planted, changed: map[*config.Pipeline]*config.Pipeline{}, t: t, ctx: context.Background(), seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), names: rand.New(rand.NewPCG(seed, 2)), dir: dir,
		folk: newFolk(), rows: map[string]*row{}, byName: map[string]*line{}, trace: map[string][]string{}, places: map[string]*place{}, blocks: map[string]*config.Destination{},
	}
	zone, err := time.LoadLocation(zones[w.rng.IntN(len(zones))])
	w.must(err)
	w.shop = &config.Project{Name: "shop", ID: 7, TimeZone: zone, Identity: []schema.Identity{schema.Simplified, schema.Original}[w.rng.IntN(2)]}
	w.offset.Store(int64(time.Until(starts[w.rng.IntN(len(starts))])))
	for _, name := range []string{"a", "b", "c", "d"} {
		w.places[name], w.blocks[name] = newPlace(w, name, batch.Events, w.rng.IntN(3) == 0), &config.Destination{Type: "place", Name: name}
	}
	sets := []batch.Stream{batch.People, batch.Identity}
	for _, stream := range sets {
		name := stream.String()
		w.places[name], w.blocks[name] = newPlace(w, name, stream, false), &config.Destination{Type: "place", Name: name}
	}
	w.begin()
	w.plant()
	for _, stream := range sets {
		w.registerSet(stream)
	}
	return w
}

// step lets some hours pass, and looks at the work that was done in them.
func (w *world) step() {
	time.Sleep(time.Duration(1+w.rng.IntN(20*60))*time.Minute + 17*time.Second)
	synctest.Wait()
	if w.life.alive() != nil {
		w.life.stop()
		w.begin()
		return
	}
	w.look()
	w.missed()
}

// drain lets every pipeline that is at work catch up, and compares.
func (w *world) drain() {
	w.calm.Store(true)
	w.life.stop()
	w.begin()
	w.hand(true)
	for _, l := range w.lines {
		if l.state == "paused" {
			w.become(l, "live")
			w.must(w.life.catalog.SetPipelineState(w.ctx, l.cfg.Name, pipeline.Active))
			w.life.runner.Hold(l.cfg.Name, false)
		}
	}
	time.Sleep(60 * time.Hour)
	synctest.Wait()
	w.look()
	for _, id := range w.order {
		if w.rows[id].ref == (journal.ExtentRef{}) {
			w.errorf("event %s was sent, and is not in the journal", id)
		}
	}
	for _, l := range w.lines {
		switch {
		case l.state == "live" && l.cfg.Stream == batch.Events:
			w.compare(l)
		case l.state == "live":
			w.complete(l)
		}
	}
	before := w.held()
	for range 2 { // the second pass believes the clock
		w.offset.Add(int64(retention))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if _, err := w.life.upkeep.Pass(w.ctx, 0); err != nil {
			w.errorf("upkeep: %v", err)
		}
	}
	w.kept(before)
}

// compare compares a place with the events that its pipeline should have brought there.
func (w *world) compare(l *line) {
	stored, err := w.life.catalog.Pipeline(w.ctx, l.cfg.Name)
	w.must(err)
	var late int64
	for _, id := range w.order {
		r := w.rows[id]
		if w.needs(l, r) {
			w.errorf("%s has not exported event %s of %s (seal %d, index %d)", l.cfg.Name, id, r.day, r.ref.Seq, r.ref.Index)
		}
		if l.has(r) && l.leavesOut(r) {
			late++
			if l.place.rows[id] == l.id {
				w.errorf("%s has exported event %s of %s, which came too late: at %s", l.cfg.Name, id, r.at.UTC(), r.sealedAt.UTC())
			}
		}
	}
	w.done.lateOut.Add(late)
	if l.before == nil && stored.Cursor.LeftOut.Rows != late {
		w.errorf("%s says that it has left out %d rows, and it left out %d", l.cfg.Name, stored.Cursor.LeftOut.Rows, late)
	}
}

func (w *world) story() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.trace)) {
		for _, line := range w.trace[name] {
			fmt.Fprintf(&b, "%s %s\n", name, line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.places)) {
		ids := slices.Sorted(maps.Keys(w.places[name].rows))
		fmt.Fprintf(&b, "place %s has %d events: %x\n", name, len(ids), sha256.Sum256([]byte(strings.Join(ids, " "))))
		for _, id := range slices.Sorted(maps.Keys(w.places[name].set)) {
			fmt.Fprintf(&b, "place %s has %s: %s\n", name, id, w.places[name].set[id])
		}
	}
	return b.String()
}

func (w *world) counts() map[string]int64 {
	d := &w.done
	return map[string]int64{
		"events": int64(w.events), "runs": d.runs.Load(), "iterations": d.slots.Load(), "kills": d.kills.Load(), "duplicates": d.duplicates.Load(),
		"events left out": d.lateOut.Load(), "events gone before a pipeline": d.gone.Load(), "events removed": d.removed.Load(),
		"operations and links": int64(len(w.folk.sealed)), "sets": w.folk.runs, "rows of sets": w.folk.rows, "refused links": w.folk.refused,
		"refused pipelines": d.refused.Load(), "adoptions": d.adopted.Load(),
	}
}
