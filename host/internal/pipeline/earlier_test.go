package pipeline

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// history is a journal with the pipelines of one target, and counts how often each
// extent was exported.
type history struct {
	t        *testing.T
	rng      *rand.Rand
	journal  segments
	exported map[journal.ExtentRef]int
	dates    map[journal.ExtentRef]journal.Day
}

func (h *history) seal() {
	extents := make([]Extent, 1+h.rng.IntN(5))
	for i := range extents {
		extents[i] = extent(journal.Day(1+h.rng.IntN(12)), int64(1+h.rng.IntN(5)))
	}
	h.journal.seal(extents...)
	for _, e := range h.journal[len(h.journal)-1] {
		h.dates[e.Ref] = e.UTCDate
	}
}

// run plans a run of the pipeline and carries it out; ok is false when there was none.
func (h *history) run(p *Pipeline) bool {
	h.t.Helper()
	limits := Limits{Bytes: int64(1 + h.rng.IntN(20)), Days: h.rng.IntN(4)}
	extents, cursor, err := Next(h.t.Context(), p, limits, int64(len(h.journal)), h.journal.visit)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range extents {
		if h.exported[e.Ref]++; h.exported[e.Ref] > 1 {
			h.t.Fatalf("extent %+v is exported again, with the cursor %+v", e, p.Cursor)
		}
		if e.UTCDate < p.From || e.UTCDate > p.To {
			h.t.Fatalf("extent %+v is exported, which is not of the dates %s", e, p.Days())
		}
	}
	// As a catalog keeps it.
	encoded, err := json.Marshal(cursor)
	if err != nil {
		h.t.Fatal(err)
	}
	p.Cursor = Cursor{}
	if err := json.Unmarshal(encoded, &p.Cursor); err != nil {
		h.t.Fatal(err)
	}
	return len(extents) > 0
}

// drained exports the rest, and checks that all of the pipeline's dates are there.
func (h *history) drained(p *Pipeline) {
	h.t.Helper()
	for h.run(p) {
	}
	for ref, date := range h.dates {
		if date >= p.From && date <= p.To && h.exported[ref] != 1 {
			h.t.Fatalf("extent %+v of day %d is exported %d times, with the cursor %+v", ref, date, h.exported[ref], p.Cursor)
		}
	}
}

// Whenever to_date and the order of the backfill change, and whenever another pipeline
// adopts the target, each extent is exported once, and none of the dates is left out.
func TestDatesChangeAndTargetsAreAdopted(t *testing.T) {
	for seed := range uint64(500) {
		h := &history{t: t, rng: rand.New(rand.NewPCG(seed, 12)), exported: map[journal.ExtentRef]int{}, dates: map[journal.ExtentRef]journal.Day{}}
		for range h.rng.IntN(6) {
			h.seal()
		}
		created := func(id string) *Pipeline {
			p := newPipeline(int64(len(h.journal)), []Order{Oldest, Newest}[h.rng.IntN(2)])
			p.ID, p.From, p.To = id, journal.Day(1+h.rng.IntN(4)), journal.Day(5+h.rng.IntN(8))
			return p
		}
		p := created("a")
		for step := range 40 {
			switch h.rng.IntN(8) {
			case 0, 1:
				h.seal()
			case 2:
				p.To = journal.Day(5 + h.rng.IntN(8))
			case 3:
				p.Order = []Order{Oldest, Newest}[h.rng.IntN(2)]
			case 4:
				if step%3 > 0 {
					continue
				}
				former := p
				p = created(former.ID + "b")
				p.Cursor.Adopt(former.Exported())
			default:
				h.run(p)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		h.drained(p)
		for range 3 {
			h.seal()
		}
		h.drained(p)
	}
}

// A part that is adopted twice is kept once, and a cursor that goes back keeps the parts
// of other pipelines.
func TestAdoptedPartsAreKept(t *testing.T) {
	former := Exported{Pipeline: "a", From: 1, To: 5, Cursor: NewCursor(3)}
	c := NewCursor(7)
	if !c.Adopt(former) || c.Adopt(former) || len(c.Earlier) != 1 {
		t.Errorf("got %+v", c.Earlier)
	}
	later := c.within(1, 5, 9).within(1, 8, 9)
	back := NewCursor(2)
	back.Inherit(later)
	if len(back.Earlier) != 1 || back.Earlier[0].Pipeline != "a" {
		t.Errorf("got %+v", back.Earlier)
	}
}
