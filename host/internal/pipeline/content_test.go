package pipeline

import (
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

func extentAt(seq int64, index int, utc, zone journal.Day) Extent {
	return Extent{Ref: journal.ExtentRef{Seq: seq, Index: index}, UTCDate: utc, ZoneDate: zone, Rows: seq}
}

// A run's parts are its dates, ascending, whatever order the plan had; the rows
// of a date come in the order in which they were journaled.
func TestParts(t *testing.T) {
	t.Parallel()
	late, early, other := extentAt(3, 0, 10, 11), extentAt(1, 1, 10, 10), extentAt(2, 0, 9, 10)
	run := &Run{Extents: []Extent{late, early, other}}
	for zone, want := range map[bool][]Part{
		false: {{Date: "1970-01-10", Extents: []Extent{other}, Rows: 2}, {Date: "1970-01-11", Extents: []Extent{early, late}, Rows: 4}},
		true:  {{Date: "1970-01-11", Extents: []Extent{early, other}, Rows: 3}, {Date: "1970-01-12", Extents: []Extent{late}, Rows: 3}},
	} {
		if got := run.Parts(zone); !reflect.DeepEqual(got, want) {
			t.Errorf("zone %v: %+v, want %+v", zone, got, want)
		}
	}
	if run.Extents[0] != late {
		t.Error("the plan's own order has changed")
	}
	set := &Run{Generation: &Generation{Blob: "people/1/a", Rows: 7}}
	if got := set.Parts(false); !reflect.DeepEqual(got, []Part{{Rows: 7}}) {
		t.Errorf("a generation has the parts %+v", got)
	}
}

// The content changes with every input that changes the destination's rows. It
// stays the same when only the blocks differ.
func TestContent(t *testing.T) {
	t.Parallel()
	type input struct {
		catalog string
		p       Pipeline
		parts   []Part
		totals  []batch.Totals
	}
	base := func() input {
		return input{
			"catalog", Pipeline{ID: "id", Definition: Definition{Name: "p", Stream: batch.Events}},
			[]Part{{Date: "2026-06-01"}, {Date: "2026-06-02"}},
			[]batch.Totals{{Rows: 1, RowsBytes: 2, RowsCRC32: 3, PayloadBytes: 4}, {Rows: 5, RowsBytes: 6, RowsCRC32: 7, PayloadBytes: 8}},
		}
	}
	content := func(change func(*input)) string {
		in := base()
		change(&in)
		return Content(in.catalog, &in.p, in.parts, in.totals)
	}
	first := content(func(*input) {})
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(first) {
		t.Errorf("content %q", first)
	}
	for name, change := range map[string]func(*input){
		"nothing":          func(*input) {},
		"compressed bytes": func(in *input) { in.totals[0].PayloadBytes++ },
		"extents":          func(in *input) { in.parts[0].Extents = []Extent{{}} },
		"the name":         func(in *input) { in.p.Name = "renamed" },
	} {
		if got := content(change); got != first {
			t.Errorf("%s: the content is another", name)
		}
	}
	seen := map[string]string{first: "the base"}
	for name, change := range map[string]func(*input){
		"catalog":     func(in *input) { in.catalog = "other" },
		"pipeline id": func(in *input) { in.p.ID = "other" },
		"stream":      func(in *input) { in.p.Stream = batch.People },
		"date":        func(in *input) { in.parts[0].Date = "2026-05-31" },
		"rows":        func(in *input) { in.totals[0].Rows++ },
		"bytes":       func(in *input) { in.totals[1].RowsBytes++ },
		"checksum":    func(in *input) { in.totals[1].RowsCRC32++ },
		"a part less": func(in *input) { in.parts, in.totals = in.parts[:1], in.totals[:1] },
	} {
		got := content(change)
		if other, ok := seen[got]; ok {
			t.Errorf("%s: the content is that of %s", name, other)
		}
		seen[got] = name
	}
}

// The content of a run that grows by extents is at each step that of the run of these
// extents, in whatever order a plan takes them.
func TestADigestIsTheContentOfEachPrefix(t *testing.T) {
	t.Parallel()
	p := &Pipeline{ID: "id", Definition: Definition{Stream: batch.Events}}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		var run Run
		totals := map[journal.ExtentRef]batch.Totals{}
		for seq := range int64(1 + r.IntN(12)) {
			for index := range r.IntN(5) {
				day := journal.Day(r.IntN(6))
				e := extentAt(seq, index, day, day+journal.Day(r.IntN(2)))
				totals[e.Ref] = batch.Totals{Rows: uint64(r.IntN(9)), RowsBytes: uint64(1 + r.IntN(1e6)), RowsCRC32: r.Uint32()}
				run.Extents = append(run.Extents, e)
			}
		}
		if seed%2 == 1 { // as a backfill takes them, or in no order at all
			r.Shuffle(len(run.Extents), func(i, j int) { run.Extents[i], run.Extents[j] = run.Extents[j], run.Extents[i] })
		}
		for _, zone := range []bool{false, true} {
			d := NewDigest("catalog", p, zone)
			for n := range run.Extents {
				d.Add(&run.Extents[n], totals[run.Extents[n].Ref])
				parts := (&Run{Extents: run.Extents[:n+1]}).Parts(zone)
				sums := make([]batch.Totals, len(parts))
				for i, part := range parts {
					for _, e := range part.Extents {
						sums[i].Append(totals[e.Ref])
					}
				}
				if got, want := d.Content(), Content("catalog", p, parts, sums); got != want {
					t.Fatalf("seed %d, zone %v, %d extents: content %s, want %s", seed, zone, n+1, got, want)
				}
			}
		}
	}
}
