package bigquery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// Version is the plugin's version.
const Version = "0.1.0"

// maxDays is how many partitions one statement can write.
const maxDays = 4000

// minInterval leaves room in the quotas of a day: 288 runs of mode load may change 38 days
// each of the 11,000 changes of partitions, and have 100,000 load jobs.
const minInterval = 5 * time.Minute

// Plugin describes the destination for sdk.Serve. The destinations that it makes
// share one set of blocks.
func Plugin() sdk.Plugin {
	shared := newBlocks()
	return sdk.Plugin{
		Name:    "bigquery",
		Version: Version,
		Schema:  attributes(),
		Capabilities: sdk.Capabilities{
			Streams:       []sdk.Stream{sdk.Events, sdk.People, sdk.Identity},
			Modes:         []sdk.Mode{sdk.Append, sdk.Replace},
			Partitioning:  sdk.ByProjectDate,
			Inventory:     true,
			MaxDaysPerRun: maxDays,
			MinInterval:   minInterval,
			Guarantee:     sdk.Transaction,
			GuaranteeText: "The rows of a run of events become visible in one transaction, which also records the run. " +
				"A set of people or identity is a table of its own, to which the view is switched in one step; the export log's row follows the switch. " +
				"With mode = \"load\" the guarantee of events is idempotent: days become visible one by one, a retried run loads no part twice, and a run that is given up leaves what it has loaded.",
		},
		Environment: gcp.Environment(),
		New: func(_ context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(c, shared)
		},
		Setup: prepare,
	}
}

// destination is a dataset that holds the tables of one project.
type destination struct {
	*service
	project sdk.Project
	rules   unusual.Rules
	blocks  *blocks

	mu       sync.Mutex
	attempts map[attemptKey]*attempt
	refused  map[attemptKey]sdk.LastRun // runs of which BigQuery refused a row
	partSize int64                      // see partSize
}

func open(c sdk.Config, shared *blocks) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	if err := conf.check(lake.EmptyAttributes(c)); err != nil {
		return nil, err
	}
	rules, err := conf.rules()
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	return &destination{
		service: newService(conf, c.Logger), project: c.Project, rules: rules, blocks: shared, partSize: partSize,
		attempts: make(map[attemptKey]*attempt), refused: make(map[attemptKey]sdk.LastRun),
	}, nil
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target {
	base := "bigquery://" + d.config.Project + "/" + d.config.Dataset + "/"
	if !d.config.account().IsGoogle() {
		base = "bigquery://" + d.config.Endpoint + "/" + d.config.Project + "/" + d.config.Dataset + "/"
	}
	return []sdk.Target{
		{Stream: sdk.Events, URI: base + eventsTable},
		{Stream: sdk.People, URI: base + viewName(peopleTable)},
		{Stream: sdk.Identity, URI: base + viewName(identityTable)},
	}
}

// Open implements sdk.Opener.
func (d *destination) Open(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	if err := d.ensureDataset(ctx); err != nil {
		return sdk.LastRun{}, err
	}
	if err := d.ensureLog(ctx); err != nil {
		return sdk.LastRun{}, err
	}
	if run.Mode == sdk.Replace {
		return d.openSet(ctx, run)
	}
	if err := d.ensureEvents(ctx); err != nil {
		return sdk.LastRun{}, err
	}
	if err := d.checkBegun(ctx, run); err != nil {
		return sdk.LastRun{}, err
	}
	last, err := d.claim(ctx, run)
	if err != nil {
		return sdk.LastRun{}, err
	}
	if err := d.ensureResolved(ctx); err != nil {
		d.log.Warn("the view "+resolvedTable+" was not created; will retry with the next run", "error", err)
	}
	a := d.begin(run)
	d.sweepStaged(ctx, run)
	if d.config.appends(run) {
		if a.changesBefore, err = d.changesToday(ctx); err != nil {
			return sdk.LastRun{}, err
		}
	}
	return last, nil
}

// createTarget creates the table that an attempt's rows are loaded into, before the
// first load. It ends by itself if the attempt does not commit.
func (d *destination) createTarget(ctx context.Context, a *attempt) error {
	if a.table != "" || d.config.appends(a.run) {
		return nil
	}
	name := stagingName(a.run)
	if a.run.Mode == sdk.Replace {
		name = generationName(a.run)
	}
	t := d.table(columnsOf(a.run.Stream), "")
	t.Labels = runLabels(a.run, "attempt")
	if a.run.Mode == sdk.Append {
		t.TimePartitioning = dayPartitions()
	}
	if err := d.createBrief(ctx, name, t, attemptLife); err != nil {
		return err
	}
	a.table = name
	return nil
}

// Prepare implements sdk.Preparer: it waits until every row is loaded.
func (d *destination) Prepare(ctx context.Context, run sdk.Run, _ sdk.Receipt) error {
	a, err := d.attempt(run)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	a.loads.Wait()
	if err := a.failed(); err != nil {
		d.suspect(a, err)
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.loaded.rows != a.rows {
		return sdk.Retryable(fmt.Errorf("%d rows were loaded of %d", a.loaded.rows, a.rows), 0)
	}
	if run.Mode == sdk.Replace {
		return d.createTarget(ctx, a) // a set without rows is a table, too
	}
	return nil
}

// suspect notes that BigQuery has refused a row of the run that was not flagged: the
// next attempt of this process decodes every batch.
func (d *destination) suspect(a *attempt, err error) {
	var f *jobFailure
	if !errors.As(err, &f) || f.reason != "invalid" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[attemptKey{a.run.Stream, a.run.PipelineID}] = a.run.Last()
}

func (d *destination) suspicious(run sdk.Run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, found := d.refused[attemptKey{run.Stream, run.PipelineID}]
	return found && last == run.Last()
}

// Commit implements sdk.Destination.
func (d *destination) Commit(ctx context.Context, run sdk.Run, receipt sdk.Receipt) error {
	a, err := d.attempt(run)
	if err != nil {
		return d.notOpen(ctx, run, err)
	}
	a.committing = true
	if run.Mode == sdk.Replace {
		err = d.commitSet(ctx, a, receipt)
	} else {
		err = d.commitEvents(ctx, a, receipt)
	}
	if err != nil {
		return err
	}
	d.end(a)
	return nil
}

// notOpen is the answer to the commit of a run that is not open: it may be
// committed.
func (d *destination) notOpen(ctx context.Context, run sdk.Run, notOpen error) error {
	status, err := d.Status(ctx, run)
	if err != nil {
		return err
	}
	done, err := status.Last.Holds(run)
	if err == nil && !done {
		err = notOpen
	}
	return err
}

// Abort implements sdk.Aborter. The attempt's table is of no use to the next one,
// which has its own; without an answer to the commit it stays, since the commit may
// still read it, and ends by itself.
func (d *destination) Abort(ctx context.Context, run sdk.Run, discard bool) error {
	a, err := d.attempt(run)
	if err != nil {
		return nil // another attempt has taken its place, or it was never open
	}
	d.end(a)
	d.suspect(a, a.failed())
	if err := d.dropStaged(ctx, run); err != nil {
		d.log.Warn("staged objects were not deleted; the next run deletes them", "bucket", d.config.StagingBucket, "error", err)
	}
	if discard && d.config.appends(run) {
		return d.checkLeft(ctx, a)
	}
	if a.committing || a.table == "" {
		return nil
	}
	if shown, err := d.isShown(ctx, a); shown || err != nil {
		return err
	}
	return d.deleteTable(ctx, a.table)
}

// Close implements sdk.Closer.
func (d *destination) Close() error {
	d.mu.Lock()
	var open []*attempt
	for _, a := range d.attempts {
		open = append(open, a)
	}
	d.mu.Unlock()
	for _, a := range open {
		d.end(a)
	}
	return nil
}

// Status implements sdk.Destination.
func (d *destination) Status(ctx context.Context, run sdk.Run) (sdk.Status, error) {
	if run.Mode == sdk.Replace || run.Stream != sdk.Events {
		return d.setStatus(ctx, run)
	}
	return d.eventsStatus(ctx, run)
}

// totals sums up a receipt for the export log.
func totals(run sdk.Run, table string, started time.Time, r sdk.Receipt) logRow {
	row := logRow{run: run, table: table, started: started, changed: make(map[string]uint64), days: make(map[string]uint64)}
	for _, p := range r.Partitions {
		row.exported += p.Rows
		row.rejected += p.Rejected
		for reason, rows := range p.Changed {
			row.changed[reason] += rows
		}
		if p.Date != "" && p.Rows > 0 {
			row.days[p.Date] += p.Rows
		}
		if p.Date != "" && (row.from == "" || p.Date < row.from) {
			row.from = p.Date
		}
		row.to = max(row.to, p.Date)
	}
	return row
}
