package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Recover compares the runs of the pipeline's destination with those of the catalog.
// With resend, if they differ, the pipeline continues after the destination's last run
// and sends again the rows that came after the last run that both have. The pipeline is
// one that Ensure returned.
func (p *Pipeline) Recover(ctx context.Context, resend bool) (*operation.Recovery, error) {
	leave, err := p.steps.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored, err := p.stored(ctx)
	if err != nil {
		return nil, err
	}
	name := p.Config.Name
	r, restart, err := compareHistory(ctx, p, stored)
	if err != nil {
		return nil, fmt.Errorf("recover pipeline %s: %w", name, err)
	}
	if r.Differs && !pipeline.Replaced(stored.Stream) {
		gap, err := p.o.Catalog.RestartGap(ctx, stored, *restart)
		if err != nil {
			return nil, fmt.Errorf("recover pipeline %s: %w", name, err)
		}
		if gap.Rows > 0 {
			r.GoneRows, r.GoneFrom, r.GoneTo = gap.Rows, gap.From.String(), gap.To.String()
		}
	}
	if !r.Differs || !resend {
		return r, nil
	}
	if r.Untried {
		return nil, fmt.Errorf("recover pipeline %s: run it first (penstock pipelines run %s), "+
			"since runs of the destination that are this catalog's own are adopted without sending anything", name, name)
	}
	if err := p.o.Catalog.RestartPipeline(ctx, stored, *restart); err != nil {
		return nil, err
	}
	r.NextRun = max(stored.LastRun, restart.Last.Number) + 1
	return r, nil
}

// compareHistory finds the last run that the catalog and the destination both
// have.
func compareHistory(ctx context.Context, p *Pipeline, stored *pipeline.Pipeline) (*operation.Recovery, *catalog.Restart, error) {
	d, err := p.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	contents, err := p.o.Catalog.RunContents(ctx, stored.ID)
	if err != nil {
		return nil, nil, err
	}
	open, err := p.o.Catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return nil, nil, err
	}
	status := func(number int64) (protocol.Status, error) {
		s, err := d.Status(ctx, protocol.Run{
			ProjectID: stored.ProjectID, Pipeline: stored.Name, PipelineID: stored.ID, Stream: stored.Stream, Mode: destination.Mode(stored.Stream), Number: number,
		})
		if err == nil && s.State == protocol.InDoubt {
			err = errors.New("the destination still works on a commit; try again in a minute")
		}
		return s, err
	}
	next, err := status(stored.LastRun + 1)
	if err != nil {
		return nil, nil, err
	}
	last := next.Last
	r := &operation.Recovery{
		Pipeline: p.Config.Name, Destination: p.Config.Destination.Reference(), Recorded: stored.Committed.Number, Committed: last.Number,
		Untried: open == nil && last.Number > stored.Committed.Number,
		Differs: last.Number != stored.Committed.Number || differ(last.Content, stored.Committed.Content),
	}
	if r.Differs && open != nil && open.Number <= last.Number {
		s, err := status(open.Number)
		if err != nil {
			return nil, nil, err
		}
		// The catalog's own run: its next attempt records it.
		r.Differs = s.Content == "" || s.Content != open.Content
		if r.Differs && open.Prepared == nil {
			// So does one that finds it in the journal.
			found, err := replan(ctx, p, d, s.Content)
			if err != nil {
				return nil, nil, err
			}
			r.Untried = found != nil
		}
	}
	for r.Agreed = min(r.Recorded, last.Number); r.Differs && r.Agreed > 0; r.Agreed-- {
		s, err := status(r.Agreed)
		if err != nil {
			return nil, nil, err
		}
		if !differ(s.Content, contents[r.Agreed]) {
			break
		}
	}
	return r, &catalog.Restart{
		Agreed: r.Agreed, Last: pipeline.Committed{Number: last.Number, Content: last.Content}, Fence: next.Fence,
	}, nil
}

// differ reports whether two contents are of different runs. One that is not
// known is that of a run from before contents were kept.
func differ(a, b string) bool { return a != "" && b != "" && a != b }
