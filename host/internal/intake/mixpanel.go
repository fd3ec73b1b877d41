package intake

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
)

// Mixpanel supervises a source block of type mixpanel.
type Mixpanel struct {
	o       *Options
	name    string
	project *project.Project
	source  *mixpanel.Source
	budget  *mixpanel.Budget // of exports
	tally   tally            // of events

	mu     sync.Mutex
	config *config.Mixpanel // a reload replaces it
	client *mixpanel.Client // of source, as it is configured
}

// Name implements Source.
func (p *Mixpanel) Name() string { return p.name }

// block returns the present block.
func (p *Mixpanel) block() *config.Mixpanel {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config
}

// Close implements Source.
func (p *Mixpanel) Close() {
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	client.Close()
}

// Retire implements Source: the queries under way end, and no other is begun.
func (p *Mixpanel) Retire() { p.source.Retire() }

// change has the next queries asked as another block says. Queries under way end as they
// began. The project and the zone of dates are as before.
func (p *Mixpanel) change(next *config.Mixpanel) {
	client := newClient(next)
	p.source.Change(client, next.From, next.Lookback)
	p.mu.Lock()
	before := p.client
	p.config, p.client = next, client
	p.mu.Unlock()
	before.Close()
}

func newClient(c *config.Mixpanel) *mixpanel.Client {
	return mixpanel.NewClient(mixpanel.ClientOptions{Region: region(c), ProjectID: c.Project.ID, Credentials: credentials(c)})
}

// until returns a context that ends with ctx or when the source is retired. The caller
// calls end.
func (p *Mixpanel) until(ctx context.Context) (limited context.Context, end func()) {
	return untilClosed(ctx, p.source.Retired())
}

// budgets are the budgets of the projects that are pulled, by their files. They are for
// one goroutine at a time.
type budgets struct {
	o    *Options
	open map[string]*mixpanel.Budget
}

// of returns the budgets of a project.
func (b *budgets) of(project int64) (export, profiles *mixpanel.Budget, err error) {
	if export, err = b.budget(exportBudget(b.o, project)); err == nil {
		profiles, err = b.budget(profilesBudget(b.o, project))
	}
	return export, profiles, err
}

// budget returns the budget that has a file. It has no limits yet.
func (b *budgets) budget(path string) (*mixpanel.Budget, error) {
	if known := b.open[path]; known != nil {
		return known, nil
	}
	opened, err := mixpanel.OpenBudget(mixpanel.BudgetOptions{Path: path, Now: b.o.Now, Wait: b.o.Wait})
	if err == nil {
		b.open[path] = opened
	}
	return opened, err
}

// limit gives the budgets of all projects the lowest limits of their sources.
func (b *budgets) limit(sources []*config.Mixpanel) {
	for _, c := range sources {
		of := func(path string, limit func(*config.Mixpanel) config.Limit) {
			if budget := b.open[path]; budget != nil {
				budget.SetLimits(lowest(sources, c.Project, limit))
			}
		}
		of(exportBudget(b.o, c.Project.ID), func(c *config.Mixpanel) config.Limit { return c.ExportLimit })
		of(profilesBudget(b.o, c.Project.ID), func(c *config.Mixpanel) config.Limit { return c.ProfileLimit })
	}
}

func exportBudget(o *Options, project int64) string {
	return filepath.Join(pullDir(o, project), "export.budget")
}

func profilesBudget(o *Options, project int64) string {
	return filepath.Join(pullDir(o, project), "profiles.budget")
}

// pullDir returns the directory of the downloads and budgets of a project.
func pullDir(o *Options, project int64) string {
	return o.Dir.Path(datadir.PullDir, strconv.FormatInt(project, 10))
}

func openPull(ctx context.Context, o *Options, c *config.Mixpanel, of *project.Project, known *budgets) (*Mixpanel, error) {
	dir := pullDir(o, c.Project.ID)
	if !o.ReadOnly {
		if err := private.MakeDir(filepath.Join(dir, c.Name)); err != nil {
			return nil, err
		}
	}
	export, profiles, err := known.of(c.Project.ID)
	if err != nil {
		return nil, err
	}
	cursors, err := o.Catalog.Cursors(ctx, c.Project.ID, c.Reference())
	if err != nil {
		return nil, err
	}
	p := &Mixpanel{o: o, name: c.Reference(), config: c, project: of, budget: export, client: newClient(c)}
	p.source, err = mixpanel.Open(mixpanel.Options{
		Name: c.Reference(), Dir: filepath.Join(dir, c.Name), Client: p.client, Export: export, Profiles: profiles,
		From: c.From, Lookback: c.Lookback, Zone: zoneOf(c), Now: o.Now, Cursors: cursors, Reload: events{p}.reloadCursors, Progress: events{p}.reportDownload,
	})
	if err != nil {
		p.client.Close()
		return nil, err
	}
	return p, nil
}

// events pulls the events of a source.
type events struct{ *Mixpanel }

// reloadCursors returns the cursors of the source, after a seal: cursors that were
// appended, by a command that was cancelled while it waited for the seal, are moved
// then.
func (p events) reloadCursors(ctx context.Context) (map[string][]byte, error) {
	if err := p.project.Journal.Settle(ctx); err != nil {
		return nil, err
	}
	return p.o.Catalog.Cursors(ctx, p.block().Project.ID, p.Name())
}

// lowest returns the lowest limits that sources of a project have.
func lowest(sources []*config.Mixpanel, p *config.Project, of func(*config.Mixpanel) config.Limit) mixpanel.Limits {
	var l mixpanel.Limits
	lower := func(to *int, n int) {
		if *to == 0 || n > 0 && n < *to {
			*to = n
		}
	}
	for _, c := range sources {
		if c.Project == p {
			lower(&l.PerHour, of(c).PerHour)
			lower(&l.PerSecond, of(c).PerSecond)
			lower(&l.Concurrent, of(c).Concurrent)
		}
	}
	return l
}

// region returns the servers to ask: one for both APIs if an endpoint is set.
func region(c *config.Mixpanel) mixpanel.Region {
	if c.Endpoint != "" {
		return mixpanel.Region{Export: c.Endpoint, Query: c.Endpoint}
	}
	return mixpanel.Regions[c.Region]
}

func credentials(c *config.Mixpanel) mixpanel.Credentials {
	if c.Account != nil {
		return mixpanel.Credentials{Username: c.Account.Username, Secret: string(c.Account.Secret)}
	}
	return mixpanel.Credentials{APISecret: string(c.APISecret)}
}

// zoneOf returns the zone of the dates of a source.
func zoneOf(c *config.Mixpanel) *time.Location {
	if c.Local {
		return c.Project.TimeZone
	}
	return time.UTC
}

// parsing returns how pulled events are parsed.
func parsing(c *config.Mixpanel) ingest.Options {
	return ingest.Options{Records: ingest.Pulled, Times: times(c.Project, c.Local), Identity: c.Project.Identity}
}

// pulled counts the records of pulls. It may be used concurrently.
type pulled struct {
	alone bool // no other source writes to the project's journal: its duplicates are the source's

	mu      sync.Mutex
	summary operation.SourceSummary
	refused refusedCounts
}

func newPulled(p *Mixpanel, alone bool) *pulled {
	return &pulled{alone: alone, summary: operation.SourceSummary{Name: p.Name()}, refused: refusedCounts{counts: map[schema.Reason]int64{}}}
}

// result returns the counts so far.
func (d *pulled) result() operation.SourceSummary {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.summary
	s.Quarantined = d.refused.list(s.Name)
	return s
}

// add changes the counts.
func (d *pulled) add(change func(*operation.SourceSummary)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.summary)
}

// store returns the function that brings downloads into the journal.
func (p events) store(done *pulled) mixpanel.Store {
	return func(ctx context.Context, d *mixpanel.Download, pieces ingest.Source) error {
		w, err := p.project.Journal.Writer(ctx)
		if err != nil {
			return err
		}
		before := w.Stats()
		var counters ingest.Counters
		defer p.tally.begin(&counters)()
		o := parsing(p.block())
		o.Source, o.Appender, o.Now, o.Counters, o.Refused = p.reportStoring(d, pieces, &counters), w, p.o.Now, &counters, done.refused.add
		o.Rejects = pulledRejects{p.o.Quarantine, p.Name()}
		o.Packer = w.NewPacker
		// A download is removed after this: its rows must be durable.
		if err := ingest.Run(ctx, o); err != nil {
			return err
		}
		if err := w.Seal(ctx); err != nil {
			return err
		}
		after := w.Stats()
		warning := doubt(p.block().Local, counters.TimesUTC.Load(), counters.TimesLocal.Load())
		if warning != "" {
			p.o.Log.Warn(warning, "source", p.Name(), "days", d.Query.String())
		}
		done.add(func(s *operation.SourceSummary) {
			s.Days += d.Days()
			s.Queries++
			s.Records += counters.Records.Load()
			s.Bytes += counters.Read.Load()
			s.Rows += after.Kept - before.Kept
			s.Duplicates += after.Duplicates - before.Duplicates
			s.Repaired += counters.Repaired.Load()
			if warning != "" {
				s.Warning = warning
			}
		})
		duplicates := int64(0) // of all sources of the project
		if done.alone {
			duplicates = after.Duplicates - before.Duplicates
		}
		p.reportStored(d, &counters, duplicates)
		return nil
	}
}

func (p events) reportStored(d *mixpanel.Download, counters *ingest.Counters, duplicates int64) {
	p.o.Observer.Report(progress.Report{
		Stage: "pull", Name: fmt.Sprintf("%s, %s", p.Name(), d.Query), Rows: counters.Rows.Load(), Bytes: counters.Read.Load(),
		Duplicates: duplicates, Quarantined: counters.Refused.Load(), Done: true,
	})
}

// storing is a download whose pieces are being stored.
type storing struct {
	ingest.Source
	report func()
}

// Next implements ingest.Source.
func (s storing) Next(ctx context.Context) (*ingest.Piece, error) {
	s.report()
	return s.Source.Next(ctx)
}

// reportStoring returns the pieces of a download, and reports how many were stored each
// time that another is asked for.
func (p events) reportStoring(d *mixpanel.Download, pieces ingest.Source, counters *ingest.Counters) ingest.Source {
	r := progress.Report{Stage: "pull", Name: fmt.Sprintf("%s, %s", p.Name(), d.Query), Total: d.Bytes}
	return storing{pieces, func() {
		if r.Rows, r.Bytes = counters.Rows.Load(), counters.Read.Load(); r.Rows > 0 {
			p.o.Observer.Report(r)
		}
	}}
}

func (p events) reportDownload(q mixpanel.Query, bytes int64) {
	p.o.Observer.Report(progress.Report{Stage: "pull", Name: fmt.Sprintf("%s, %s", p.Name(), q), Bytes: bytes})
}

// reportWait says that a query waits for the budget, unless it is for moments.
func (p events) reportWait(until time.Time) {
	if until.Sub(p.o.Now()) > 5*time.Second {
		p.o.Observer.Report(progress.Report{
			Stage: "pull", Name: p.Name(), Text: fmt.Sprintf("waits for the limit on queries until %s UTC", until.UTC().Format("15:04:05")),
		})
	}
}

// pulledRejects puts refused lines into quarantine. A line that is pulled again is
// the same one, wherever it stands in the stream.
type pulledRejects struct {
	store  *quarantine.Store
	source string
}

// Put implements ingest.Rejects.
func (r pulledRejects) Put(days string, _ int, _, _ int64, refused []ingest.Refusal) error {
	for _, x := range refused {
		sum := int64(xxh3.Hash(x.Bytes) >> 1)
		err := r.store.Put(r.source, quarantine.Span{Position: "export", From: sum, To: sum}, []quarantine.Entry{{
			Position: fmt.Sprintf("export of %s, at byte %d", days, x.At), Reason: string(x.Reason), Detail: x.Detail, Bytes: x.Bytes, Truncated: x.Truncated,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadAll implements Source: it pulls every day up to today, and the profiles.
func (p *Mixpanel) ReadAll(ctx context.Context, retryFor time.Duration) (operation.SourceSummary, error) {
	done := newPulled(p, true)
	err := events{p}.catchUp(ctx, retryFor, done)
	s := done.result()
	if p.block().People && ctx.Err() == nil {
		var profilesErr error
		s.Profiles, profilesErr = profiles{p}.refresh(ctx, onceProfiles)
		err = errors.Join(err, profilesErr)
	}
	if err != nil {
		err = fmt.Errorf("source %s: %w", p.Name(), err)
	}
	return s, err
}

// Replay implements Source.
func (p *Mixpanel) Replay(ctx context.Context, some []quarantine.Entry, _ bool) (map[string]bool, int64, error) {
	return replayRead(ctx, p.o, p.project, parsing(p.block()), some)
}

// catchUp pulls until nothing is due. Transient errors are retried for at most
// retryFor without a query that succeeds.
func (p events) catchUp(ctx context.Context, retryFor time.Duration, done *pulled) error {
	store := p.store(done)
	if err := p.source.Resume(ctx, store); err != nil {
		return err
	}
	failing, queries := p.o.Now(), 0
	pauses := lifecycle.Backoff{First: pullFirst, Limit: pullLimit}
	var last error
	for {
		err := p.source.PullDue(ctx, p.reportWait, store)
		switch {
		case err == nil && (last == nil || !p.source.Failing()):
			return nil
		case err == nil:
		case ctx.Err() != nil || mixpanel.KindOf(err) == 0 || mixpanel.NeedsPerson(err):
			return err
		default:
			last = err
			p.o.Log.Warn("could not pull; will retry", "source", p.Name(), "error", err)
		}
		if n := done.result().Queries; n > queries {
			failing, queries = p.o.Now(), n
			pauses.Reset()
		}
		_, at, _ := p.source.Next()
		if free := p.budget.Next(p.o.Now()); free.After(at) {
			at = free
		}
		// A server that fails is not asked for each day in turn.
		if err != nil && !mixpanel.Blocks(err) {
			if next := p.o.Now().Add(pauses.Pause()); next.After(at) {
				at = next
			}
		}
		if at.Sub(failing) > retryFor {
			return last
		}
		if err := p.o.Wait(ctx, at.Sub(p.o.Now())); err != nil {
			return err
		}
	}
}

// The pauses of a host that serves.
const (
	pullLook   = 30 * time.Second // the longest until it is looked at what is due
	pullPerson = 15 * time.Minute // after an error that a person must mend
	pullFirst  = 5 * time.Second  // the first after another error
	pullLimit  = 5 * time.Minute
)

// Serve implements Source.
func (p *Mixpanel) Serve(ctx context.Context) error {
	g := lifecycle.NewGroup(ctx)
	g.Go(func(ctx context.Context) error {
		events{p}.serve(ctx)
		return nil
	})
	g.Go(func(ctx context.Context) error {
		profiles{p}.serve(ctx)
		return nil
	})
	err := g.Wait()
	p.Close()
	if err == nil && ctx.Err() == nil {
		p.o.Log.Info("a source that pulls has ended, as a reload has removed it", "source", p.Name())
	}
	return err
}

// serve pulls whatever is due until ctx is done or the source is retired.
func (p events) serve(ctx context.Context) {
	waiting, end := p.until(ctx)
	defer end()
	pauses := lifecycle.Backoff{First: pullFirst, Limit: pullLimit}
	store := p.store(newPulled(p.Mixpanel, false))
	for waiting.Err() == nil {
		err := p.source.Resume(ctx, store)
		if err == nil {
			err = p.serveStep(ctx, waiting, store)
		}
		pause := time.Duration(0)
		switch {
		case err == nil:
			pauses.Reset()
			continue
		case mixpanel.NeedsPerson(err):
			pause = pullPerson
		case mixpanel.KindOf(err) == mixpanel.TooMany: // the budget waits
		default:
			pause = pauses.Pause()
		}
		if ctx.Err() == nil {
			p.o.Log.Error("could not pull; will retry", "source", p.Name(), "error", err, "pause", pause.Round(time.Millisecond))
		}
		if p.o.Wait(waiting, pause) != nil {
			return
		}
	}
}

// serveStep carries out the queries that are due, or waits until waiting is done.
func (p events) serveStep(ctx, waiting context.Context, store mixpanel.Store) error {
	_, at, _ := p.source.Next()
	if pause := at.Sub(p.o.Now()); pause > 0 {
		// An error of waiting is the end of serving.
		_ = p.o.Wait(waiting, min(pause, pullLook))
		return nil
	}
	return p.source.PullDue(ctx, p.reportWait, store)
}
