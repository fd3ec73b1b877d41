package pipeline

import "fmt"

// ShrunkError says that a set is empty, or has less than half of the rows of
// the set at the destination. The source may be incomplete, and a run would
// replace the destination's rows with it.
type ShrunkError struct {
	Pipeline  string
	Rows, Was int64
}

func (e *ShrunkError) Error() string {
	by := "none"
	if e.Rows > 0 {
		by = fmt.Sprint(e.Rows)
	}
	return fmt.Sprintf("pipeline %s would replace %d rows by %s, so the rows at the destination were kept: if the smaller set is right, "+
		"confirm it with penstock pipelines run %s --allow-shrink, or for all runs with allow_shrink = true", e.Pipeline, e.Was, by, e.Pipeline)
}

// Replacement compares a generation with was, the number of rows of the
// pipeline's last run (0: there was none). It returns the pipeline's cursor
// after the generation, or a *ShrunkError.
func Replacement(p *Pipeline, g *Generation, was int64, allowShrink bool) (Cursor, error) {
	if (g.Rows == 0 && was > 0 || 2*g.Rows < was) && !allowShrink {
		return Cursor{}, &ShrunkError{Pipeline: p.Name, Rows: g.Rows, Was: was}
	}
	next := p.Cursor
	next.BackfillDone, next.Backfill = true, nil
	next.Live = Position{Seq: g.Seq, Index: EndOfSegment}
	return next, nil
}
