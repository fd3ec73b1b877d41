package host

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
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
)

// puller supervises one source block of type mixpanel.
type puller struct {
	host   *Host
	config *config.Mixpanel
	client *mixpanel.Client
	source *mixpanel.Source
	budget *mixpanel.Budget // of exports
}

// openPulls opens the sources that pull. It asks Mixpanel nothing.
func (h *Host) openPulls(ctx context.Context) error {
	budgets := map[string]*mixpanel.Budget{}
	for _, c := range h.config.Mixpanel {
		p, err := h.openPull(ctx, c, budgets)
		if err != nil {
			return fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		h.pulls = append(h.pulls, p)
	}
	return nil
}

func (h *Host) openPull(ctx context.Context, c *config.Mixpanel, budgets map[string]*mixpanel.Budget) (*puller, error) {
	dir := h.dir.Path(datadir.PullDir, strconv.FormatInt(c.Project.ID, 10))
	if looks := h.scratch != nil; !looks {
		if err := private.MakeDir(filepath.Join(dir, c.Name)); err != nil {
			return nil, err
		}
	}
	export, err := openBudget(budgets, filepath.Join(dir, "export.budget"), h.exportLimits(c.Project))
	if err != nil {
		return nil, err
	}
	profiles, err := openBudget(budgets, filepath.Join(dir, "profiles.budget"), h.profileLimits(c.Project))
	if err != nil {
		return nil, err
	}
	cursors, err := h.catalog.Cursors(ctx, c.Project.ID, c.Reference())
	if err != nil {
		return nil, err
	}
	p := &puller{host: h, config: c, budget: export, client: mixpanel.NewClient(mixpanel.ClientOptions{
		Region: region(c), ProjectID: c.Project.ID, Credentials: credentials(c),
	})}
	p.source, err = mixpanel.Open(mixpanel.Options{
		Name: c.Reference(), Dir: filepath.Join(dir, c.Name), Client: p.client, Export: export, Profiles: profiles,
		From: c.From, Lookback: c.Lookback, Zone: p.zone(), Now: time.Now, Cursors: cursors, Reload: p.reloadCursors, Progress: p.reportDownload,
	})
	if err != nil {
		p.client.Close()
		return nil, err
	}
	return p, nil
}

// reloadCursors returns the cursors of the source, after a seal: cursors that were
// appended, by a command that was cancelled while it waited for the seal, are moved
// then.
func (p *puller) reloadCursors(ctx context.Context) (map[string][]byte, error) {
	w, err := p.host.projects.Of(p.config.Project).Journal.Writer(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.Seal(ctx); err != nil {
		return nil, err
	}
	return p.host.catalog.Cursors(ctx, p.config.Project.ID, p.config.Reference())
}

// openBudget returns the budget that has a file.
func openBudget(open map[string]*mixpanel.Budget, path string, l mixpanel.Limits) (*mixpanel.Budget, error) {
	if b := open[path]; b != nil {
		return b, nil
	}
	b, err := mixpanel.OpenBudget(mixpanel.BudgetOptions{Path: path, Limits: l, Now: time.Now, Wait: lifecycle.Wait})
	open[path] = b
	return b, err
}

// exportLimits are the lowest limits that sources of a project have.
func (h *Host) exportLimits(p *config.Project) mixpanel.Limits {
	return h.lowest(p, func(c *config.Mixpanel) config.Limit { return c.ExportLimit })
}

func (h *Host) profileLimits(p *config.Project) mixpanel.Limits {
	return h.lowest(p, func(c *config.Mixpanel) config.Limit { return c.ProfileLimit })
}

func (h *Host) lowest(p *config.Project, of func(*config.Mixpanel) config.Limit) mixpanel.Limits {
	var l mixpanel.Limits
	lower := func(to *int, n int) {
		if *to == 0 || n > 0 && n < *to {
			*to = n
		}
	}
	for _, c := range h.config.Mixpanel {
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

// zone is where the dates of the project are.
func (p *puller) zone() *time.Location {
	if p.config.Local {
		return p.config.Project.TimeZone
	}
	return time.UTC
}

// parsing says how pulled events are parsed.
func (p *puller) parsing() ingest.Options {
	project := p.config.Project
	return ingest.Options{Records: ingest.Pulled, Times: times(project, p.config.Local), Identity: project.Identity}
}

// pulled counts the records of pulls. It may be used concurrently.
type pulled struct {
	mu      sync.Mutex
	summary operation.SourceSummary
	refused refusedCounts
}

func newPulled(p *puller) *pulled {
	return &pulled{summary: operation.SourceSummary{Name: p.config.Reference()}, refused: refusedCounts{counts: map[schema.Reason]int64{}}}
}

// result returns the counts so far.
func (d *pulled) result() operation.SourceSummary {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.summary
	s.Quarantined = d.refused.list(s.Name)
	return s
}

// store returns the function that brings downloads into the journal.
func (p *puller) store(done *pulled) mixpanel.Store {
	return func(ctx context.Context, d *mixpanel.Download, pieces ingest.Source) error {
		h := p.host
		w, err := h.projects.Of(p.config.Project).Journal.Writer(ctx)
		if err != nil {
			return err
		}
		before := w.Stats()
		var counters ingest.Counters
		o := p.parsing()
		o.Source, o.Appender, o.Now, o.Counters, o.Refused = pieces, w, time.Now, &counters, done.refused.add
		o.Rejects = pulledRejects{h.quarantine, p.config.Reference()}
		// A download is removed after this: its rows must be durable.
		if err := ingest.Run(ctx, o); err != nil {
			return err
		}
		if err := w.Seal(ctx); err != nil {
			return err
		}
		after := w.Stats()
		warning := doubt(p.config.Local, counters.TimesUTC.Load(), counters.TimesLocal.Load())
		if warning != "" {
			h.log.Warn(warning, "source", p.config.Reference(), "days", d.Query.String())
		}
		done.mu.Lock()
		defer done.mu.Unlock()
		s := &done.summary
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
		p.reportStored(d, &counters, after.Duplicates-before.Duplicates)
		return nil
	}
}

func (p *puller) reportStored(d *mixpanel.Download, counters *ingest.Counters, duplicates int64) {
	if p.host.serving {
		duplicates = 0 // of all sources of the project
	}
	p.host.observer.Report(progress.Report{
		Stage: "pull", Name: fmt.Sprintf("%s, %s", p.config.Reference(), d.Query), Rows: counters.Rows.Load(), Bytes: counters.Read.Load(),
		Duplicates: duplicates, Quarantined: counters.Refused.Load(), Done: true,
	})
}

func (p *puller) reportDownload(q mixpanel.Query, bytes int64) {
	p.host.observer.Report(progress.Report{Stage: "pull", Name: fmt.Sprintf("%s, %s", p.config.Reference(), q), Bytes: bytes})
}

// reportWait says that a query waits for the budget, unless it is for moments.
func (p *puller) reportWait(until time.Time) {
	if time.Until(until) > 5*time.Second {
		p.host.observer.Report(progress.Report{
			Stage: "pull", Name: p.config.Reference(), Text: fmt.Sprintf("waits for the limit on queries until %s UTC", until.UTC().Format("15:04:05")),
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

// pullAll pulls every project up to today.
func (h *Host) pullAll(ctx context.Context, retryFor time.Duration, summary *operation.Summary) error {
	var failed error
	for _, p := range h.pulls {
		done := newPulled(p)
		err := p.catchUp(ctx, retryFor, done)
		s := done.result()
		if p.config.People && ctx.Err() == nil {
			var profilesErr error
			s.Profiles, profilesErr = p.refreshProfiles(ctx, onceProfiles)
			err = errors.Join(err, profilesErr)
		}
		if err != nil {
			err = fmt.Errorf("source %s: %w", p.config.Reference(), err)
			s.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, s)
	}
	return failed
}

// catchUp pulls until nothing is due. Transient errors are retried for at most
// retryFor without a query that succeeds.
func (p *puller) catchUp(ctx context.Context, retryFor time.Duration, done *pulled) error {
	store := p.store(done)
	if err := p.source.Resume(ctx, store); err != nil {
		return err
	}
	failing, queries := time.Now(), 0
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
			p.host.log.Warn("could not pull; will retry", "source", p.config.Reference(), "error", err)
		}
		if n := done.result().Queries; n > queries {
			failing, queries = time.Now(), n
		}
		_, at, _ := p.source.Next()
		if free := p.budget.Next(time.Now()); free.After(at) {
			at = free
		}
		if at.Sub(failing) > retryFor {
			return last
		}
		if err := lifecycle.Wait(ctx, time.Until(at)); err != nil {
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

// serve pulls whatever is due until ctx is done.
func (p *puller) serve(ctx context.Context) {
	pauses := lifecycle.Backoff{First: pullFirst, Limit: pullLimit}
	store := p.store(newPulled(p))
	for ctx.Err() == nil {
		err := p.source.Resume(ctx, store)
		if err == nil {
			err = p.serveStep(ctx, store)
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
			p.host.log.Error("could not pull; will retry", "source", p.config.Reference(), "error", err, "pause", pause.Round(time.Millisecond))
		}
		if lifecycle.Wait(ctx, pause) != nil {
			return
		}
	}
}

// serveStep carries out the queries that are due, or waits.
func (p *puller) serveStep(ctx context.Context, store mixpanel.Store) error {
	_, at, _ := p.source.Next()
	if pause := time.Until(at); pause > 0 {
		// An error of waiting is the end of serving.
		_ = lifecycle.Wait(ctx, min(pause, pullLook))
		return nil
	}
	return p.source.PullDue(ctx, p.reportWait, store)
}

// pull returns the source of a name.
func (h *Host) pull(name string) (*puller, error) {
	for _, p := range h.pulls {
		if p.config.Reference() == name || p.config.Name == name {
			return p, nil
		}
	}
	if len(h.pulls) == 0 {
		return nil, errors.New("the configuration has no source that pulls: source \"mixpanel\" NAME { … }")
	}
	return nil, fmt.Errorf("no source that pulls is named %q; there is %s", name, h.pulls[0].config.Reference())
}

// PullSource implements Operations.
func (h *Host) PullSource(ctx context.Context, name string, from, to string) (*operation.SourceSummary, error) {
	p, days, err := h.requested(name, from, to)
	if err != nil {
		return nil, err
	}
	done := newPulled(p)
	err = p.source.PullDays(ctx, days[0], days[1], p.reportWait, p.store(done))
	s := done.result()
	if err != nil {
		s.Error = err.Error()
	}
	return &s, nil
}

// CheckSource implements Operations.
func (h *Host) CheckSource(ctx context.Context, name string, from, to string) (*operation.SourceCheck, error) {
	p, days, err := h.requested(name, from, to)
	if err != nil {
		return nil, err
	}
	check := &operation.SourceCheck{Source: p.config.Reference(), Server: region(p.config).Export, Days: []operation.SourceDay{}}
	counts, err := p.source.Check(ctx, days[0], days[1], times(p.config.Project, p.config.Local))
	if err != nil {
		check.Error = err.Error()
		check.Kind = mixpanel.KindOf(err).String()
	}
	for _, c := range counts {
		check.Days = append(check.Days, SourceDay(c))
	}
	return check, nil
}

// requested returns a source and the dates that a person asks for.
func (h *Host) requested(name, from, to string) (*puller, [2]journal.Day, error) {
	var days [2]journal.Day
	p, err := h.pull(name)
	if err != nil {
		return nil, days, err
	}
	today := p.source.Status().Today
	days = [2]journal.Day{today - 1, today - 1}
	for i, text := range [2]string{from, to} {
		if text == "" {
			continue
		}
		if days[i], err = journal.ParseDay(text); err != nil {
			return nil, days, fmt.Errorf("%q is not a date, written YYYY-MM-DD", text)
		}
	}
	if to == "" {
		days[1] = max(days[0], days[1])
	}
	if from == "" {
		days[0] = days[1]
	}
	switch {
	case days[1] < days[0]:
		return nil, days, fmt.Errorf("--to %s lies before --from %s", days[1], days[0])
	case days[1] > today:
		return nil, days, fmt.Errorf("%s has not begun: today is %s", days[1], today)
	}
	return p, days, nil
}
