package pipeline

import (
	"errors"
	"testing"
)

func TestReplacement(t *testing.T) {
	p := newPipeline(5, Oldest)
	for _, c := range []struct {
		rows, was int64
		allow, ok bool
	}{
		{0, 0, false, true},
		{10, 0, false, true},
		{10, 20, false, true},
		{10, 21, false, false},
		{10, 21, true, true},
		{0, 1, false, false},
		{0, 1, true, true},
	} {
		next, err := Replacement(p, &Generation{Seq: 9, Rows: c.rows}, c.was, c.allow)
		var shrunk *ShrunkError
		if (err == nil) != c.ok || err != nil && !errors.As(err, &shrunk) {
			t.Errorf("%d rows for %d, allowed %v: %v", c.rows, c.was, c.allow, err)
		}
		if err == nil && (!next.BackfillDone || next.Live != (Position{Seq: 9, Index: EndOfSegment})) {
			t.Errorf("the cursor is %+v", next)
		}
	}
}
