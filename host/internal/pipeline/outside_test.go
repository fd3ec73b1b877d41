package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Rows before from_date and after to_date are counted, unless they were exported before
// to_date changed, or by the pipeline whose target this one has adopted.
func TestCountOutside(t *testing.T) {
	t.Parallel()
	var s segments
	s.seal(extent(3, 100), extent(12, 1))
	s.seal(extent(5, 20), extent(25, 7), extent(10, 1), extent(20, 1))
	done := Cursor{Cut: 0, BackfillDone: true, Live: Position{Seq: 2, Index: EndOfSegment}, To: 30}
	adopted := NewCursor(2)
	adopted.To, adopted.Earlier = 20, []Exported{{Pipeline: "former", From: 4, To: 9, Cursor: done}}
	for name, tt := range map[string]struct {
		cursor Cursor
		want   Outside
	}{
		"a new pipeline":                  {NewCursor(2), Outside{Before: DatedRows{120, 3, 5}, After: DatedRows{7, 25, 25}}},
		"one whose to_date was later":     {done, Outside{Before: DatedRows{120, 3, 5}}},
		"one that has adopted another's":  {adopted, Outside{Before: DatedRows{100, 3, 3}, After: DatedRows{7, 25, 25}}},
		"one that was registered earlier": {NewCursor(0), Outside{Before: DatedRows{120, 3, 5}, After: DatedRows{7, 25, 25}}},
	} {
		p := &Pipeline{Definition: Definition{Name: "p", Stream: batch.Events, From: 10, To: 20}, Cursor: tt.cursor}
		got, err := CountOutside(t.Context(), p, 2, s.visit)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(tt.want, got))
		}
	}
}
