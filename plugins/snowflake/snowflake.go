package snowflake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/azurecontainer"
	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// Version is the plugin's version.
const Version = "0.1.0"

// minInterval keeps a continuous pipeline from holding its warehouse awake: each time that
// one resumes, a minute is billed at least.
const minInterval = 5 * time.Minute

// Plugin describes the destination for sdk.Serve. Of the destinations that it makes, those
// of one user log in after one another.
func Plugin() sdk.Plugin {
	shared, buffers := newLogins(), newPools()
	return sdk.Plugin{
		Name:    "snowflake",
		Version: Version,
		Schema:  attributes(),
		Capabilities: sdk.Capabilities{
			Streams:      []sdk.Stream{sdk.Events, sdk.People, sdk.Identity},
			Modes:        []sdk.Mode{sdk.Append, sdk.Replace},
			Partitioning: sdk.ByProjectDate,
			MinInterval:  minInterval,
			Guarantee:    sdk.Transaction,
			GuaranteeText: "The rows of a run become visible in one transaction, which also records the run. " +
				"A set of people or identity is replaced in such a transaction.",
		},
		// Workload identity, and uploads to an external stage: the credentials of the machine
		// or container.
		Environment: slices.Concat(s3bucket.Environment(), gcp.Environment(), azurecontainer.Environment(), []string{"MANAGED_IDENTITY_CLIENT_ID"}),
		New: func(ctx context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(ctx, c, shared, buffers)
		},
		Setup: prepare,
	}
}

// Times of Open. A host that waits for Open ends the process after one minute, and with
// it the runs of other projects.
const (
	// openTime bounds Open as a whole. The rest of the minute is for the driver, which may
	// take graceTime to end a statement, and as long again to end its session.
	openTime = 40 * time.Second
	// claimTime bounds the wait for the ledger's lock. A session that died keeps it for
	// five minutes.
	claimTime = 30 * time.Second
	// tidyTime bounds the removal of files of earlier attempts. The next run goes on
	// with it.
	tidyTime = 20 * time.Second
)

// removeTime bounds the removal of a committed run's files. A host that waits for the
// answer to a commit ends the process after half an hour.
const removeTime = 2 * time.Minute

// destination is a schema that holds the tables of one project.
type destination struct {
	*service
	project  sdk.Project
	rules    unusual.Rules
	stage    stage
	spool    *spool
	partSize int64
	create   func(path string) (spoolFile, error)
	openFor  time.Duration // that Open lasts at most
	claimFor time.Duration // that Open waits for the ledger's lock
	tidyFor  time.Duration // that Open removes leftovers
	putFor   time.Duration // that the upload of a check lasts at most

	// retired are the releases of attempts that newer ones have replaced. Close waits for
	// them.
	retired sync.WaitGroup

	mu       sync.Mutex
	attempts map[attemptKey]*attempt
	refused  map[attemptKey]sdk.LastRun // runs of which COPY refused a row
}

func open(ctx context.Context, c sdk.Config, shared *logins, buffers *pools) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	found := lake.EmptyAttributes(c)
	if !timeZone.MatchString(c.Project.TimeZone) {
		found = append(found, sdk.Diagnostic{Severity: sdk.SeverityError, Summary: "Time zone is not a name", Detail: fmt.Sprintf("%q: a name looks like \"Europe/Zurich\".", c.Project.TimeZone)})
	}
	if err := conf.check(found); err != nil {
		return nil, err
	}
	rules, err := conf.rules()
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	d := &destination{
		service: newService(conf, c.Logger, shared), project: c.Project, rules: rules, spool: &spool{base: conf.SpoolDir}, partSize: partSize, create: createFile,
		openFor: openTime, claimFor: claimTime, tidyFor: tidyTime, putFor: putTime,
		attempts: make(map[attemptKey]*attempt), refused: make(map[attemptKey]sdk.LastRun), stage: internalStage{conf},
	}
	if conf.isSet() {
		if d.stage, err = newExternalStage(ctx, conf, c.Project, buffers); err != nil {
			return nil, err
		}
	}
	d.connector.temporary = d.spool.path
	return d, nil
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target {
	server := d.config.Account
	if d.config.Endpoint != "" {
		server = d.config.Endpoint + "/" + server
	}
	base := "snowflake://" + server + "/" + d.config.schemaName() + "/"
	return []sdk.Target{
		{Stream: sdk.Events, URI: base + rawTable(sdk.Events)},
		{Stream: sdk.People, URI: base + rawTable(sdk.People)},
		{Stream: sdk.Identity, URI: base + rawTable(sdk.Identity)},
	}
}

// tagOf is the query tag of a run's statements.
func tagOf(run sdk.Run) string {
	return fmt.Sprintf("penstock pipeline=%s id=%s run=%d fence=%d", run.Pipeline, run.PipelineID, run.Number, run.Fence)
}

// errOpenTime is the cause of the end of an Open that has lasted too long.
var errOpenTime = errors.New("the service or the bucket of its stage has not answered in time")

// Open implements sdk.Opener. It ends soon after openFor, whatever the service does.
func (d *destination) Open(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	opening, cancel := context.WithTimeoutCause(ctx, d.openFor, fmt.Errorf("%w: a run must begin within %s", errOpenTime, d.openFor))
	defer cancel()
	before, err := d.claim(opening, run)
	if err != nil {
		if ctx.Err() == nil && opening.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			err = sdk.Retryable(fmt.Errorf("%w: %w", context.Cause(opening), err), 0)
		}
		return sdk.LastRun{}, d.classify("open a session", "", err)
	}
	d.begin(run, before)
	return before.Last, nil
}

// claim creates what the run needs, makes its pipeline the holder of the target, and
// removes the files of earlier attempts. It returns the pipeline's entry in the ledger.
func (d *destination) claim(ctx context.Context, run sdk.Run) (ledgers.Entry, error) {
	var before ledgers.Entry
	l := d.ledgerOf(run.Stream)
	err := d.within(ctx, tagOf(run), func(x *session) error {
		if err := d.ensureTarget(ctx, x, run); err != nil {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, d.claimFor)
		defer cancel()
		var err error
		if before, err = l.claim(waiting, x, run); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("another session holds the lock of the ledger: %w", err)
			}
			return d.classify("claim "+viewOf(run.Stream), l.grant(d.config), err)
		}
		d.tidy(ctx, x, run)
		return nil
	})
	return before, err
}

// tidy does the work of Open whose failure the next run makes good.
func (d *destination) tidy(ctx context.Context, x *session, run sdk.Run) {
	ctx, cancel := context.WithTimeout(ctx, d.tidyFor)
	defer cancel()
	if err := d.sweepStage(ctx, x, run); err != nil {
		d.log.Warn("files of earlier attempts were not removed from the stage; will retry with the next run", "error", err)
	}
	if err := d.ensureResolved(ctx, x); err != nil {
		d.log.Warn("the view "+resolvedTable+" was not created; will retry with the next run", "error", err)
	}
}

// Prepare implements sdk.Preparer: it waits until every file is in the stage.
func (d *destination) Prepare(ctx context.Context, run sdk.Run, receipt sdk.Receipt) error {
	a, err := d.attempt(run)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	err = d.finish(a)
	a.uploads.Wait()
	if failed := a.failed(); failed != nil {
		return failed
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	var uploaded, written uint64
	for _, f := range a.files {
		uploaded += f.rows
	}
	for _, p := range receipt.Partitions {
		written += p.Rows
	}
	if uploaded != written {
		return sdk.Permanent(fmt.Errorf("the files have %d rows, and %d were written", uploaded, written))
	}
	if d.stage.outside() && len(a.files) > 0 {
		return d.compareStaged(ctx, a)
	}
	return nil
}

// Abort implements sdk.Aborter. The attempt's files are of no use to the next one.
// Without an answer to the commit they stay, since the commit may still read them, and
// the pipeline's next attempt removes them.
func (d *destination) Abort(ctx context.Context, run sdk.Run, _ bool) error {
	a, err := d.attempt(run)
	if err != nil {
		return nil // another attempt has taken its place, or it was never open
	}
	d.end(a)
	if a.committing || len(a.files) == 0 {
		return nil
	}
	return d.removeFiles(ctx, a)
}

// removeFiles removes the attempt's files from the stage.
func (d *destination) removeFiles(ctx context.Context, a *attempt) error {
	err := d.inStage(ctx, a.run, func(x *session) error { return d.stage.remove(ctx, x, d.stage.name(), attemptDir(a.run)) })
	return d.classify("remove the attempt's files", d.stage.grants(d.stage.name()), err)
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
	d.retired.Wait()
	if err := d.spool.close(); err != nil {
		d.log.Warn("the spool was not removed; the next process removes it", "error", err)
	}
	return d.service.close()
}
