package journal_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// A row that is sent again is found although its time, which was replaced on
// arrival, is of another day: whether the first one is in the same block, in a
// segment of its own, or in a merged run.
func TestRowsWhoseTimeWasReplaced(t *testing.T) {
	const day = 86400
	today := journal.DayOf(firstDay)
	at := func(id string, seconds int64, keyDate journal.Day, undated bool) journal.Row {
		_, key := row(id, 0)
		return journal.Row{Time: seconds, Key: key, Kind: journal.KindEvents, KeyDate: keyDate, Undated: undated}
	}
	for _, test := range []struct {
		name          string
		first, second journal.Row
		rows          int
	}{
		{"dated tomorrow, twice", at("a", firstDay, today+1, false), at("a", firstDay+5, today+1, false), 1},
		{"dated tomorrow, then taken as it is", at("a", firstDay, today+1, false), at("a", firstDay+day, 0, false), 1},
		{"dated far ahead", at("a", firstDay, today+90_000, false), at("a", firstDay+3*day, today+90_000, false), 1},
		{"undated, the same day", at("a", firstDay, 0, true), at("a", firstDay+9, 0, true), 1},
		{"undated, across midnight", at("a", firstDay+day-1, 0, true), at("a", firstDay+day, 0, true), 1},
		{"not the same", at("a", firstDay, today+1, false), at("b", firstDay+day, 0, false), 2},
	} {
		for _, between := range []string{"nothing", "seal", "reopen", "merge"} {
			t.Run(test.name+", "+between, func(t *testing.T) {
				b := newBench(t)
				w := b.writer(b.options())
				put := func(source string, r journal.Row) {
					t.Helper()
					line := fmt.Appendf(nil, "{\"id\":%q}\n", r.Key[:2])
					r.Length = len(line)
					err := w.Append(t.Context(), journal.Chunk{
						Rows: []journal.Row{r}, Data: line, Cursors: []journal.CursorMove{{Source: source, Position: "p", To: []byte{1}}},
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				seal := func() {
					t.Helper()
					if err := w.Seal(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				put("s.first", test.first)
				switch between {
				case "seal":
					seal()
				case "reopen":
					seal()
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					w = b.writer(b.options())
				case "merge":
					seal()
					for i := range 8 {
						put(fmt.Sprint("s.", i), at(fmt.Sprint("other-", i), firstDay, 0, false))
						seal()
					}
				}
				put("s.second", test.second)
				seal()
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				others := 0
				if between == "merge" {
					others = 8
				}
				lines := b.lines()
				if len(lines) != test.rows+others {
					t.Errorf("%d rows, want %d: %q", len(lines), test.rows+others, lines)
				}
				if report := b.verify(); len(report.Damages) > 0 {
					t.Error(report.Damages)
				}
				days := b.extents()
				if slices.Sort(days); len(slices.Compact(slices.Clone(days))) != len(days) {
					t.Errorf("extents %v: one partition has several in a segment", days)
				}
			})
		}
	}
}

// extents lists sequence and date of all extents.
func (b *bench) extents() []string {
	b.t.Helper()
	var list []string
	err := b.catalog.Segments(b.t.Context(), project, func(s journal.Segment) error {
		for _, e := range s.Extents {
			list = append(list, fmt.Sprint(s.Seq, " ", e.Kind, " ", e.UTCDate, " ", e.ZoneDate))
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}
