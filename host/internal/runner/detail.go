package runner

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// detailedRuns is how many runs the details of a pipeline list.
const detailedRuns = 5

// Details tells more of one pipeline, or of one run, than a View does of all.
type Details struct{ *View }

// Pipeline describes a registered pipeline with its dates, targets and latest runs.
func (v Details) Pipeline(ctx context.Context, name string) (*operation.PipelineDetail, error) {
	p, err := v.o.Catalog.Pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	d := &operation.PipelineDetail{Project: p.ProjectID, CreatedAt: p.CreatedAt, LatestRuns: []operation.RunStatus{}}
	for _, x := range p.Cursor.Adopted() {
		d.Adopted = append(d.Adopted, x.Pipeline)
	}
	if !pipeline.Replaced(p.Stream) {
		d.From = p.From.String()
		if p.To != pipeline.Forever {
			d.To = p.To.String()
		}
	}
	if d.PipelineStatus, err = v.status(ctx, p); err != nil {
		return nil, err
	}
	kept, err := v.o.Catalog.Targets(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	d.Targets = Targets(p.Stream, kept)
	runs, err := v.o.Catalog.Runs(ctx, p.ID, detailedRuns)
	for _, r := range runs {
		d.LatestRuns = append(d.LatestRuns, v.Run(name, r))
	}
	return d, err
}

// OneRun describes a run with its rows by date.
func (v Details) OneRun(ctx context.Context, name string, number int64) (*operation.RunDetail, error) {
	p, err := v.o.Catalog.Pipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := v.o.Catalog.Run(ctx, p.ID, number)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, operation.Faultf(operation.UnknownRun, "pipeline %s has no run %d: its latest is run %d", name, number, p.LastRun)
	}
	d := &operation.RunDetail{RunStatus: v.Run(name, *r), PerDay: []operation.RunDay{}, PluginLog: r.PluginLog}
	if r.Receipt == nil {
		for _, part := range r.Parts(false) {
			d.PerDay = append(d.PerDay, operation.RunDay{Date: part.Date, Rows: part.Rows})
		}
		return d, nil
	}
	for _, part := range r.Receipt.Partitions {
		d.PerDay = append(d.PerDay, operation.RunDay{
			Date: part.Date, Rows: part.Rows, Rejected: part.Rejected, StoredBytes: part.StoredBytes, Files: len(part.Objects),
		})
	}
	return d, nil
}
