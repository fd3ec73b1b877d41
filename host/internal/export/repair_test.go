package export_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// repair repairs the run that was committed last.
func (b *bench) repair(parts []int, r protocol.Repair) error {
	b.t.Helper()
	run, err := b.catalog.CommittedRun(b.t.Context(), b.pipeline.ID, 1)
	if err != nil || run == nil {
		b.t.Fatalf("run 1: %+v, %v", run, err)
	}
	x := &export.Exporter{
		Blocks: b.blocks, Places: b.places, Generations: journaled, Owner: "a", LeaseTTL: time.Minute,
		Ticker: func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} },
	}
	return x.Repair(b.t.Context(), b.catalog, export.RepairJob{Pipeline: b.pipeline, Run: run, Destination: b.place, Parts: parts, Repair: r})
}

func committedBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	return b
}

func TestARepairSendsTheChosenParts(t *testing.T) {
	b := committedBench(t)
	fence, sent := b.place.fence, 0
	b.place.atSend = func() { sent++ }
	if err := b.repair([]int{1}, protocol.Repair{Remove: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	r := b.place.repaired
	if r == nil || r.Partitions != 2 || !slices.Equal(r.Remove, []string{"x"}) || sent != 1 {
		t.Errorf("%d blocks were sent, the request was %+v", sent, r)
	}
	if b.place.fence <= fence || b.place.commits != 1 {
		t.Errorf("fence %d after %d, %d commits", b.place.fence, fence, b.place.commits)
	}
	stored, err := b.catalog.Pipeline(t.Context(), "p")
	if err != nil || !reflect.DeepEqual(stored.Cursor, b.run.Next) || stored.Committed.Number != 1 {
		t.Errorf("the pipeline is %+v, %v", stored, err)
	}
	// The lease is over: another owner may run the pipeline.
	b.next("content-2")
	if _, err := b.do("b", time.Minute); err != nil {
		t.Errorf("the run after the repair: %v", err)
	}
}

// A repair whose receipt differs from what was committed first is not committed.
func TestARepairThatWouldChangeWhatWasCommittedIsStopped(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		parts  []int
		text   string
	}{
		"rows are lost":         {func(b *bench) { b.place.loseRows = true }, []int{0, 1}, "2 rows"},
		"more objects":          {func(b *bench) { b.place.objects = []string{"a", "b"} }, []int{0}, "2 objects"},
		"another object":        {func(b *bench) { b.place.objects = []string{"b"} }, []int{0}, "cuts or compresses"},
		"another size":          {func(b *bench) { b.place.stored = 6 }, []int{0}, "of 6 bytes"},
		"a part too many":       {func(*bench) {}, []int{2}, "does not exist"},
		"a newer fence":         {func(b *bench) { b.place.fence = 100 }, []int{0}, "older than 100"},
		"the run was forgotten": {func(b *bench) { b.place.last = protocol.LastRun{} }, []int{0}, "last committed run is run 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.place.objects, b.place.stored = []string{"a"}, 5
			receipt, err := b.do("a", time.Minute)
			b.done(receipt, err)
			c.change(b)
			if err := b.repair(c.parts, protocol.Repair{}); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if b.place.repaired != nil {
				t.Error("it was committed")
			}
			// The lease is over in any case.
			if _, err := b.catalog.AcquireRepair(t.Context(), b.pipeline.ID, "b", time.Minute); err != nil {
				t.Errorf("after the repair: %v", err)
			}
		})
	}
}

// Rows that the destination refused the first time are refused again, and counted.
func TestARepairWithRefusedRows(t *testing.T) {
	b := newBench(t)
	b.place.refuse = map[string]string{"two\n": "odd"}
	receipt, err := b.do("a", time.Minute)
	b.done(receipt, err)
	if err := b.repair([]int{0}, protocol.Repair{}); err != nil {
		t.Fatal(err)
	}
	if b.refused.added != 1 {
		t.Errorf("%d rows are in quarantine", b.refused.added)
	}
}
