package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/verify"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Verify compares the pipeline's rows in the journal, in the catalog and at the
// destination, and repairs differences if the request says so. The pipeline is one
// that Ensure returned.
func (p *Pipeline) Verify(ctx context.Context, r operation.VerifyRequest) (*operation.Verification, error) {
	d, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	v := &verification{Pipeline: p, destination: d, request: r}
	if err := v.able(); err != nil {
		return nil, fmt.Errorf("verify pipeline %s: %w", p.Config.Name, err)
	}
	// Events of committed runs never change, so that runs may go on while they are
	// compared. A set is replaced by the next run.
	if r.Repair || pipeline.Replaced(p.Config.Stream) {
		leave, err := p.steps.Enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	report, err := v.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify pipeline %s: %w", p.Config.Name, err)
	}
	return report, nil
}

// verification is the state of one Verify.
type verification struct {
	*Pipeline
	destination *destination.Destination
	request     operation.VerifyRequest
	at          *pipeline.Pipeline // as it was when it was compared last
	open        *pipeline.Run      // of the catalog, not committed; nil: there is none
}

// able refuses a destination that does not list its objects, and a repair by
// one that cannot repair.
func (v *verification) able() error {
	can := v.destination.Description().Capabilities
	switch {
	case !can.Inventory:
		return fmt.Errorf("the plugin of %s cannot list what its destination holds", v.Config.Destination.Reference())
	case v.request.Repair && !can.Repair:
		return fmt.Errorf("the plugin of %s cannot repair what it has committed", v.Config.Destination.Reference())
	}
	return nil
}

// run compares, and repairs and compares again if that was asked for.
func (v *verification) run(ctx context.Context) (*operation.Verification, error) {
	report, err := v.compare(ctx)
	if err != nil || !v.request.Repair {
		return report, err
	}
	plan := report.Plan.Only(v.request.Only)
	if plan.Empty() {
		return report, nil
	}
	if err := v.repair(ctx, report, plan); err != nil {
		return nil, err
	}
	after, err := v.compare(ctx)
	if err != nil {
		return nil, err
	}
	after.Repaired = verify.Done(plan, after)
	return after, nil
}

// compare reads the four sides and compares them.
func (v *verification) compare(ctx context.Context) (*operation.Verification, error) {
	var err error
	if v.at, err = v.stored(ctx); err != nil {
		return nil, err
	}
	in := verify.Input{
		Replaced: pipeline.Replaced(v.Config.Stream), From: v.request.From, To: v.request.To, Before: v.at.Committed.Number,
		CannotRepair: !v.destination.Description().Capabilities.Repair,
	}
	query := protocol.InventoryQuery{
		Run: protocol.Run{
			ProjectID: v.at.ProjectID, Pipeline: v.at.Name, PipelineID: v.at.ID, Stream: v.at.Stream, Mode: destination.Mode(v.at.Stream),
		},
		From: v.request.From, To: v.request.To, Deep: v.request.Deep,
	}
	err = v.destination.Inventory(ctx, query, func(i protocol.InventoryItem) error {
		if in.Items = append(in.Items, i); len(in.Items) > verify.MaxItems {
			return fmt.Errorf("the destination lists more than %d objects: compare fewer days at a time, with --from and --to", verify.MaxItems)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := v.catalogued(ctx, &in); err != nil {
		return nil, err
	}
	report := verify.Compare(in)
	report.Pipeline, report.Destination, report.Stream = v.Config.Name, v.Config.Destination.Reference(), v.Config.Stream.String()
	report.From, report.To, report.Deep = v.request.From, v.request.To, v.request.Deep
	report.LastRun = v.at.Committed.Number
	return &report, nil
}

// catalogued reads the runs of the catalog and their rows in the journal. Runs
// may be committed while it reads: the cursor is read first, so that the extents
// of such a run are after the cursor, or in the list of runs, or both.
func (v *verification) catalogued(ctx context.Context, in *verify.Input) error {
	before, err := v.stored(ctx)
	if err != nil {
		return err
	}
	contents, err := v.o.Catalog.RunContents(ctx, v.at.ID)
	if err != nil {
		return err
	}
	numbers := make([]int64, 0, len(contents))
	for number := range contents {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	if in.Replaced && len(numbers) > 0 {
		numbers = numbers[len(numbers)-1:]
	}
	open, err := v.o.Catalog.OpenRun(ctx, v.at.ID)
	if err != nil {
		return err
	}
	if v.open = open; open != nil {
		in.Open = &verify.Run{Number: open.Number, Content: open.Content}
	}
	exported := map[journal.ExtentRef]int{}
	for _, number := range numbers {
		run, err := v.committedRun(ctx, number)
		if err != nil {
			return err
		}
		for _, e := range run.Extents {
			exported[e.Ref]++
		}
		compared, err := v.committed(ctx, run)
		if err != nil {
			return err
		}
		in.Runs = append(in.Runs, compared)
	}
	if !in.Replaced {
		in.Journal, err = v.journaled(ctx, before, exported)
	}
	return err
}

// committedRun returns a committed run of the catalog. It fails if a recovery has
// made the catalog forget the run.
func (v *verification) committedRun(ctx context.Context, number int64) (*pipeline.Run, error) {
	run, err := v.o.Catalog.CommittedRun(ctx, v.at.ID, number)
	if err == nil && run == nil {
		err = fmt.Errorf("run %d is no longer in the catalog", number)
	}
	return run, err
}

// committed returns a run of the catalog as it is compared. The journal is only
// read for dates that were asked for.
func (v *verification) committed(ctx context.Context, run *pipeline.Run) (verify.Run, error) {
	out := verify.Run{Number: run.Number, Content: run.Content}
	query := protocol.InventoryQuery{From: v.request.From, To: v.request.To}
	for i, part := range run.Parts(v.destination.ByZone()) {
		p := verify.Part{Date: part.Date}
		if r := run.Receipt; r != nil && i < len(r.Partitions) {
			got := r.Partitions[i]
			p.Committed = verify.Amount{Rows: got.Rows, StoredBytes: got.StoredBytes, Objects: int64(len(got.Objects))}
			p.Rejected, p.Planned = got.Rejected, r.Planned
		}
		if query.Holds(p.Date) {
			if err := v.held(ctx, run, part, &p); err != nil {
				return out, err
			}
		}
		out.Parts = append(out.Parts, p)
	}
	return out, nil
}

// held adds the rows of a part as the journal lists them.
func (v *verification) held(ctx context.Context, run *pipeline.Run, part pipeline.Part, p *verify.Part) error {
	totals, err := v.totals(ctx, run, []pipeline.Part{part})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		p.Journal = &totals[0]
	case run.Generation != nil && errors.Is(err, fs.ErrNotExist):
		p.Gone = fmt.Sprintf("the set has changed since run %d, and the journal no longer holds it as it was: the next run replaces it ('penstock pipelines run %s')",
			run.Number, v.Config.Name)
	default:
		p.Gone = fmt.Sprintf("the journal no longer holds all rows of run %d: %v", run.Number, err)
	}
	return nil
}

// journaled sums up the journal by date: rows that were exported, rows that wait,
// and rows that no run has although the pipeline has passed them. before is the
// pipeline as it was before the exported extents were listed.
func (v *verification) journaled(ctx context.Context, before *pipeline.Pipeline, exported map[journal.ExtentRef]int) (map[string]verify.Journal, error) {
	// Segments that are sealed after this are not compared: waiting may not list
	// their extents.
	seq, err := v.o.Catalog.Sequence(ctx, v.at.ProjectID)
	if err != nil {
		return nil, err
	}
	waiting, err := v.waiting(ctx, before)
	if err != nil {
		return nil, err
	}
	days, late := map[string]verify.Journal{}, v.at.Late()
	err = v.o.Catalog.Extents(ctx, v.at.ProjectID, pipeline.StreamKind(v.at.Stream), 0, seq, func(_ int64, extents []pipeline.Extent) error {
		for i := range extents {
			e := &extents[i]
			if !v.at.InRange(e) {
				continue
			}
			date := e.UTCDate
			if v.destination.ByZone() {
				date = e.ZoneDate
			}
			j := days[date.String()]
			j.Rows += e.Rows
			j.RowsBytes += e.RowsBytes
			j.StoredBytes += e.Bytes
			switch n := exported[e.Ref]; {
			case n > 1:
				j.Twice += e.Rows
			case n == 1:
			case waiting[e.Ref]:
				j.Waiting += e.Rows
			case late(e):
			default:
				j.Skipped += e.Rows
			}
			days[date.String()] = j
		}
		return nil
	})
	return days, err
}

// waiting returns the extents after a pipeline's cursor: those of a run that is
// not done, and those of all that follow. It moves the cursor of p.
func (v *verification) waiting(ctx context.Context, p *pipeline.Pipeline) (map[journal.ExtentRef]bool, error) {
	refs := map[journal.ExtentRef]bool{}
	for {
		extents, cursor, _, err := next(ctx, v.o.Catalog, p, pipeline.Limits{Bytes: math.MaxInt64})
		if err != nil || len(extents) == 0 {
			return refs, err
		}
		for _, e := range extents {
			refs[e.Ref] = true
		}
		p.Cursor = cursor
	}
}

// repairParts is the largest number of parts of one run that are restored at a
// time: a destination holds all of them until they are shown.
const repairParts = 200

// repair carries out a plan, run by run. Objects that it has restored stay if it
// is cut. A journal that does not open, because it is not the one that the catalog
// describes, repairs nothing.
func (v *verification) repair(ctx context.Context, report *operation.Verification, plan *operation.RepairPlan) error {
	if _, err := v.project.Journal.Writer(ctx); err != nil {
		return err
	}
	if plan.Record && len(plan.Sends) == 0 {
		if err := v.repairRun(ctx, report.LastRun, nil, v.recordRepair(plan)); err != nil {
			return err
		}
	}
	for _, s := range plan.Sends {
		chunks := slices.Collect(slices.Chunk(s.Parts, repairParts))
		if s.Record { // the record is written when all parts were sent at once
			chunks = [][]int{s.Parts}
		}
		for _, parts := range chunks {
			if err := v.repairRun(ctx, s.Run, parts, v.recordRepair(plan)); err != nil {
				return err
			}
		}
	}
	if len(plan.Remove) == 0 && !plan.Totals {
		return nil
	}
	return v.repairRun(ctx, report.LastRun, nil, protocol.Repair{Remove: plan.Remove, Totals: plan.Totals})
}

// recordRepair returns the request of a repair that sends parts, or restores the
// destination's record of the pipeline.
func (v *verification) recordRepair(plan *operation.RepairPlan) protocol.Repair {
	r := protocol.Repair{Deep: v.request.Deep, Record: plan.Record}
	if plan.Record && v.open != nil {
		r.OpenRun = v.open.Number
	}
	return r
}

func (v *verification) repairRun(ctx context.Context, number int64, parts []int, r protocol.Repair) error {
	run, err := v.committedRun(ctx, number)
	if err != nil {
		return err
	}
	var total int64
	for i, part := range run.Parts(v.destination.ByZone()) {
		if slices.Contains(parts, i) {
			total += pipeline.Sum(part.Extents).Bytes
		}
	}
	report := func(rows, bytes int64, done bool) {
		v.o.Observer.Report(progress.Report{Stage: "repair", Name: fmt.Sprintf("%s run %d", v.at.Name, number), Rows: rows, Bytes: bytes, Total: total, Done: done})
	}
	x := &export.Exporter{
		Blocks: v.project.Journal.Reader(), Places: v.project.Journal.Reader(), Generations: v.project, Owner: v.o.Owner, LeaseTTL: leaseTTL, Ticker: v.o.Ticker, Wait: v.o.Wait,
		Progress: func(_ *pipeline.Run, rows, bytes int64) { report(rows, bytes, false) },
	}
	return x.Repair(ctx, v.o.Catalog, export.RepairJob{
		Pipeline: v.at, Run: run, Destination: v.destination, Parts: parts, Repair: r,
	})
}
