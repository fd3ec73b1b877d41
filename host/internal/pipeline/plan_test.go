package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// segments is a journal in memory: extents by sequence, starting with 1.
type segments [][]Extent

func (s *segments) seal(extents ...Extent) {
	seq := int64(len(*s) + 1)
	for i := range extents {
		extents[i].Ref.Seq, extents[i].Ref.Index = seq, i
	}
	*s = append(*s, extents)
}

func (s segments) visit(_ context.Context, after, to int64, fn func(int64, []Extent) error) error {
	for seq := after + 1; seq <= to && seq <= int64(len(s)); seq++ {
		if err := fn(seq, s[seq-1]); err != nil {
			return err
		}
	}
	return nil
}

func extent(day journal.Day, bytes int64) Extent {
	return Extent{UTCDate: day, ZoneDate: day, Bytes: bytes, Rows: bytes, RowsBytes: bytes}
}

func newPipeline(seq int64, order Order) *Pipeline {
	return &Pipeline{
		Definition: Definition{Name: "p", Stream: batch.Events, From: 0, To: 1000, Order: order},
		Cursor:     NewCursor(seq),
	}
}

// drain plans run after run until nothing is left.
func drain(t *testing.T, p *Pipeline, limits Limits, s segments) [][]Extent {
	t.Helper()
	var runs [][]Extent
	reached := false
	for range 10000 {
		extents, cursor, err := Next(t.Context(), p, limits, int64(len(s)), s.visit)
		if err != nil {
			t.Fatal(err)
		}
		p.Cursor = cursor
		if len(extents) == 0 {
			if !cursor.Reached(int64(len(s))) {
				t.Errorf("nothing is left, and %+v has not reached %d", cursor, len(s))
			}
			return runs
		}
		if reached {
			t.Errorf("everything was said to be exported, and %v are left", extents)
		}
		reached = cursor.Reached(int64(len(s)))
		runs = append(runs, extents)
	}
	t.Fatal("planning does not come to an end")
	return nil
}

func describe(runs [][]Extent) []string {
	var out []string
	for _, r := range runs {
		text := ""
		for _, e := range r {
			text += fmt.Sprintf("%d/%d.%d ", e.UTCDate, e.Ref.Seq, e.Ref.Index)
		}
		out = append(out, text)
	}
	return out
}

func TestNext(t *testing.T) {
	var s segments
	s.seal(extent(1, 10), extent(2, 10), extent(3, 10))
	s.seal(extent(1, 10), extent(2, 10), extent(5, 10))
	s.seal(extent(2, 10), extent(4, 10))
	for name, test := range map[string]struct {
		registered int64
		order      Order
		limits     Limits
		from, to   journal.Day
		want       []string
	}{
		"backfill takes days in order, then live by sequence": {
			registered: 2, limits: Limits{Bytes: 1000}, to: 1000,
			want: []string{"1/1.0 1/2.0 2/1.1 2/2.1 3/1.2 5/2.2 ", "2/3.0 4/3.1 "},
		},
		"backfill is bounded in bytes and may cut a day": {
			registered: 3, limits: Limits{Bytes: 30}, to: 1000,
			want: []string{"1/1.0 1/2.0 2/1.1 ", "2/2.1 2/3.0 3/1.2 ", "4/3.1 5/2.2 "},
		},
		"backfill is bounded in days": {
			registered: 3, limits: Limits{Bytes: 1000, Days: 2}, to: 1000,
			want: []string{"1/1.0 1/2.0 2/1.1 2/2.1 2/3.0 ", "3/1.2 4/3.1 ", "5/2.2 "},
		},
		"backfill from the newest": {
			registered: 3, order: Newest, limits: Limits{Bytes: 1000, Days: 2}, to: 1000,
			want: []string{"5/2.2 4/3.1 ", "3/1.2 2/1.1 2/2.1 2/3.0 ", "1/1.0 1/2.0 "},
		},
		"live is bounded and resumes in a segment": {
			registered: 0, limits: Limits{Bytes: 40}, to: 1000,
			want: []string{"1/1.0 2/1.1 3/1.2 1/2.0 ", "2/2.1 5/2.2 2/3.0 4/3.1 "},
		},
		"one extent over the limit is a run of its own": {
			registered: 0, limits: Limits{Bytes: 5}, from: 3, to: 4,
			want: []string{"3/1.2 ", "4/3.1 "},
		},
		"dates out of range are passed over": {
			registered: 1, limits: Limits{Bytes: 1000}, from: 2, to: 3,
			want: []string{"2/1.1 3/1.2 ", "2/2.1 2/3.0 "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPipeline(test.registered, test.order)
			p.From, p.To = test.from, test.to
			if diff := cmp.Diff(test.want, describe(drain(t, p, test.limits, s))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is journaled when, each extent in range is planned exactly once.
func TestEachExtentIsPlannedOnce(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s segments
		grow := func() {
			for range r.IntN(12) {
				var extents []Extent
				for range r.IntN(6) {
					e := extent(journal.Day(r.IntN(12)), int64(1+r.IntN(30)))
					e.ZoneDate += journal.Day(r.IntN(2))
					extents = append(extents, e)
				}
				s.seal(extents...)
			}
		}
		grow()
		order := Oldest
		if r.IntN(2) == 0 {
			order = Newest
		}
		p := newPipeline(int64(len(s)), order)
		p.From, p.To = 2, 9
		limits := Limits{Bytes: int64(1 + r.IntN(100)), Days: r.IntN(4), Extents: 1 + r.IntN(8), Zone: r.IntN(2) == 0}
		var runs [][]Extent
		for range 3 {
			runs = append(runs, drain(t, p, limits, s)...)
			grow()
		}
		runs = append(runs, drain(t, p, limits, s)...)
		checkEachOnce(t, seed, runs, s)
		checkLimits(t, seed, runs, limits)
	}
}

func checkEachOnce(t *testing.T, seed uint64, runs [][]Extent, s segments) {
	t.Helper()
	var got, want []string
	for _, run := range runs {
		got = append(got, describe([][]Extent{run})...)
	}
	var planned []string
	for _, run := range runs {
		for _, e := range run {
			planned = append(planned, fmt.Sprintf("%d.%d", e.Ref.Seq, e.Ref.Index))
		}
	}
	for _, extents := range s {
		for _, e := range extents {
			if e.UTCDate >= 2 && e.UTCDate <= 9 {
				want = append(want, fmt.Sprintf("%d.%d", e.Ref.Seq, e.Ref.Index))
			}
		}
	}
	sort.Strings(planned)
	sort.Strings(want)
	if diff := cmp.Diff(want, planned); diff != "" {
		t.Fatalf("seed %d, runs %v: %s", seed, got, diff)
	}
}

func checkLimits(t *testing.T, seed uint64, runs [][]Extent, limits Limits) {
	t.Helper()
	for _, run := range runs {
		totals := Sum(run)
		days := map[journal.Day]bool{} // that a destination partitions by
		for _, e := range run {
			if limits.Zone {
				days[e.ZoneDate] = true
			} else {
				days[e.UTCDate] = true
			}
		}
		if len(run) > 1 && totals.Bytes > limits.Bytes || len(run) > limits.Extents || limits.Days > 0 && len(days) > limits.Days {
			t.Fatalf("seed %d: run of %d extents, %d bytes, %d days breaks %+v", seed, len(run), totals.Bytes, len(days), limits)
		}
	}
}

func TestAFailedVisitPlansNothing(t *testing.T) {
	broken := errors.New("disk")
	visit := func(context.Context, int64, int64, func(int64, []Extent) error) error { return broken }
	for _, seq := range []int64{0, 3} {
		p := newPipeline(seq, Oldest)
		if extents, _, err := Next(t.Context(), p, Limits{Bytes: 1}, 5, visit); !errors.Is(err, broken) || extents != nil {
			t.Errorf("registered at %d: got %v, %v", seq, extents, err)
		}
	}
}
