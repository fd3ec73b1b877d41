package runner

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// outside counts the rows of the journal that lie outside a pipeline's dates; nil if there
// are none. A cancelled pipeline and sets have no dates.
func outside(ctx context.Context, c *catalog.Catalog, p *pipeline.Pipeline) (*operation.OutsideDates, error) {
	if pipeline.Replaced(p.Stream) || p.State == pipeline.Cancelled {
		return nil, nil
	}
	seq, err := c.Sequence(ctx, p.ProjectID)
	if err != nil {
		return nil, err
	}
	found, err := pipeline.CountOutside(ctx, p, seq, func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
		return c.ExtentsOutside(ctx, p.ProjectID, pipeline.StreamKind(p.Stream), after, to, p.From, p.To, fn)
	})
	if err != nil || found.Before.Rows+found.After.Rows == 0 {
		return nil, err
	}
	o := &operation.OutsideDates{FromDate: p.From.String(), Before: datedRows(found.Before), After: datedRows(found.After)}
	if p.To != pipeline.Forever {
		o.ToDate = p.To.String()
	}
	return o, nil
}

// datedRows returns counted rows; nil if there are none.
func datedRows(d pipeline.DatedRows) *operation.DatedRows {
	if d.Rows == 0 {
		return nil
	}
	return &operation.DatedRows{Rows: d.Rows, From: d.First.String(), To: d.Last.String()}
}

// CompleteAll adds to the summaries of pipelines the rows that they have not exported, and
// the reason.
func CompleteAll(ctx context.Context, v *View, summaries []operation.PipelineSummary) error {
	for i := range summaries {
		if err := Complete(ctx, v, &summaries[i]); err != nil {
			return err
		}
	}
	return nil
}

// Complete adds to the summary of a pipeline the rows that it has not exported, and the
// reason.
func Complete(ctx context.Context, v *View, s *operation.PipelineSummary) error {
	stored, err := v.o.Catalog.Pipeline(ctx, s.Name)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return nil // its registration has failed
	}
	if err != nil {
		return err
	}
	status, err := v.status(ctx, stored)
	if err != nil {
		return err
	}
	s.Outside = status.Outside
	if status.State == pausedPipeline || status.State == overPipeline {
		s.State, s.Waiting = status.State, status.BehindRows
	}
	return nil
}
