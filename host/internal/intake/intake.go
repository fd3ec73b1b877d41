package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
)

// Source supervises one source block.
type Source interface {
	// Name is how cursors and quarantined records name the source: "files.import".
	Name() string
	// Serve takes records until ctx is done or the source is retired, and returns when
	// nothing that it started runs any more. A failure is tried again; an error ends the
	// host.
	Serve(ctx context.Context) error
	// Retire has Serve take no more, finish its work and return: the block is gone, or
	// another source takes its place. It does not wait.
	Retire()
	// ReadAll brings everything that is there now into the journal, sealed. The summary
	// comes with an error, too.
	ReadAll(ctx context.Context, retryFor time.Duration) (operation.SourceSummary, error)
	// Replay feeds quarantined records to the journal and seals it. It returns those
	// that are refused again, and how many of the others were repaired. serving is
	// whether this host serves.
	Replay(ctx context.Context, some []quarantine.Entry, serving bool) (refused map[string]bool, repaired int64, err error)
	// Describe adds the source to a status. counts are its quarantined records.
	Describe(ctx context.Context, s *operation.Status, counts map[string]quarantine.Count) error
	// Unread returns the source's records for a pipeline that are not in the journal
	// yet; nil: there are none.
	Unread(ctx context.Context, p *config.Pipeline) (*operation.Unread, error)
	// Close frees a source that is not served.
	Close()
}

// Options are the stores and parts that sources share. All are required.
type Options struct {
	Config     func() *config.Config // the present one: a reload replaces it
	Dir        datadir.Dir
	Projects   *project.Set
	Catalog    *catalog.Catalog
	Quarantine *quarantine.Store
	Grace      *lifecycle.Grace // of stopping
	ReadOnly   bool             // nothing is written to the data directory, and no source is served
	Now        func() time.Time
	Wait       func(context.Context, time.Duration) error
	Log        *slog.Logger
	Observer   progress.Observer
}

// Set holds the sources of a configuration, which Prepare and Change.Apply replace. It
// may be used concurrently.
type Set struct {
	Pulls *Pulls
	roster

	o       *Options
	served  supervisor
	budgets *budgets
	aliases *aliases
	trims   lifecycle.Gate // see logDir
}

// sources are the sources of one configuration. They do not change.
type sources struct {
	files      []*Files
	pulls      []*Mixpanel
	collectors []*Collector
	// leaving are collectors that are not configured and whose logs hold rows that are
	// not in their journals.
	leaving []*Collector
}

// all returns the configured sources: files, then those that pull, then collectors.
func (s *sources) all() []Source {
	var all []Source
	for _, x := range s.files {
		all = append(all, x)
	}
	for _, x := range s.pulls {
		all = append(all, x)
	}
	for _, x := range s.collectors {
		all = append(all, x)
	}
	return all
}

// withLeaving returns the configured sources, then the collectors that are leaving.
func (s *sources) withLeaving() []Source {
	all := s.all()
	for _, c := range s.leaving {
		all = append(all, c)
	}
	return all
}

// logs returns the collectors that have a log.
func (s *sources) logs() []*Collector { return slices.Concat(s.collectors, s.leaving) }

// roster holds the present sources.
type roster struct{ now atomic.Pointer[sources] }

// logs returns the collectors that have a log.
func (r *roster) logs() []*Collector { return r.now.Load().logs() }

// leaving returns the collector of a name that is not configured and whose log holds rows
// that are not in their journals; nil: there is none.
func (r *roster) leaving(name string) *Collector {
	for _, c := range r.now.Load().leaving {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// change replaces the sources by a copy that was changed.
func (r *roster) change(change func(*sources)) {
	for {
		before := r.now.Load()
		next := *before
		change(&next)
		if r.now.CompareAndSwap(before, &next) {
			return
		}
	}
}

// whenEnded returns the function to call when a source has ended: a collector that was
// leaving is forgotten.
func (r *roster) whenEnded(x Source) func() {
	c, ok := x.(*Collector)
	if !ok {
		return func() {}
	}
	return func() {
		r.change(func(now *sources) {
			now.leaving = slices.DeleteFunc(slices.Clone(now.leaving), func(other *Collector) bool { return other == c })
		})
	}
}

// Open returns the sources of the configuration. Nothing is read or asked. The caller
// closes the set.
func Open(ctx context.Context, o Options) (*Set, error) {
	s := &Set{o: &o, trims: lifecycle.NewGate(), budgets: &budgets{o: &o, open: map[string]*mixpanel.Budget{}}}
	s.Pulls, s.aliases = &Pulls{s}, newAliases(&o, s.logs)
	c, now := o.Config(), &sources{}
	for _, c := range c.Sources {
		now.files = append(now.files, newFiles(&o, c, o.Projects.Of(c.Project)))
	}
	s.now.Store(now)
	for _, c := range c.Mixpanel {
		p, err := openPull(ctx, &o, c, o.Projects.Of(c.Project), s.budgets)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		now.pulls = append(now.pulls, p)
	}
	s.budgets.limit(c.Mixpanel)
	for _, c := range c.Collectors {
		now.collectors = append(now.collectors, newCollector(s, c.Name, c))
	}
	var err error
	if now.leaving, err = findLeaving(ctx, s, c.Collectors); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newCollector returns the collector of a name. c is its block; nil: it has none.
func newCollector(s *Set, name string, c *config.Collector) *Collector {
	return &Collector{
		retirement: newRetirement(), presence: presence{config: c}, aliases: s.aliases, served: &s.served, starting: lifecycle.NewGate(),
		logDir: &logDir{o: s.o, name: name, dir: s.o.Dir.Path(datadir.CollectorDir, name), trims: s.trims},
	}
}

// findLeaving returns the collectors that are not configured and whose logs hold rows
// that are not in their journals. A log that cannot be read is not among them: it is
// logged.
func findLeaving(ctx context.Context, s *Set, configured []*config.Collector) ([]*Collector, error) {
	entries, err := os.ReadDir(s.o.Dir.Path(datadir.CollectorDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var leaving []*Collector
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || slices.ContainsFunc(configured, func(c *config.Collector) bool { return c.Name == name }) {
			continue
		}
		c := newCollector(s, name, nil)
		waiting, err := c.waitingInLog(ctx)
		if err != nil {
			s.o.Log.Error("could not read the write-ahead log of a collector that is not configured", "source", c.Name(), "error", err)
			continue
		}
		if len(waiting) > 0 {
			leaving = append(leaving, c)
		}
	}
	return leaving, nil
}

// Len returns how many sources there are.
func (s *Set) Len() int { return len(s.now.Load().all()) }

// Close frees sources that are not served.
func (s *Set) Close() {
	for _, x := range s.now.Load().all() {
		x.Close()
	}
}

// Serve serves all sources in a group, and keeps the aliases of legacy projects.
func (s *Set) Serve(g *lifecycle.Group) {
	s.served.serve(g)
	for _, x := range s.now.Load().withLeaving() {
		s.served.begin(x, s.whenEnded(x))
	}
	for _, p := range s.o.Projects.All() {
		keepAliases(s, p)
	}
}

// serveLeaving begins to bring the rows of a log to journals that no collector of the
// configuration has. The caller is a goroutine of the group.
func serveLeaving(s *Set, name string) {
	c := newCollector(s, name, nil)
	s.change(func(now *sources) { now.leaving = append(slices.Clone(now.leaving), c) })
	s.served.begin(c, s.whenEnded(c))
}

// keepAliases keeps the aliases of a project, if it is a legacy one.
func keepAliases(s *Set, p *project.Project) {
	if p.Config.Legacy() {
		s.served.run(func(ctx context.Context) error {
			s.aliases.serve(ctx, p)
			return nil
		})
	}
}

// Sealed returns the function to call after the journal of a project was sealed from
// time to time: it folds the aliases of a legacy project.
func (s *Set) Sealed(p *project.Project) func(context.Context) {
	var due *aliasMark
	return func(ctx context.Context) { due = s.aliases.settle(ctx, p, due) }
}

// Trim drops the front of collectors' logs as far as it is sealed in journals. Serve
// does so from time to time.
func (s *Set) Trim(ctx context.Context) {
	for _, c := range s.logs() {
		if l := c.current(); l != nil {
			l.trim(ctx)
		}
	}
}

// HoldLogs keeps the fronts of collectors' logs from being dropped until release is
// called, so that the logs can be copied. Requests are answered as before.
func (s *Set) HoldLogs(ctx context.Context) (release func(), err error) { return s.trims.Enter(ctx) }

// ReadAll brings everything that sources have now into journals, first the
// acknowledged records of collectors. A source that fails keeps no other from its
// work.
func (s *Set) ReadAll(ctx context.Context, retryFor time.Duration, summary *operation.Summary) error {
	var failed error
	read := func(x Source) {
		done, err := x.ReadAll(ctx, retryFor)
		if err != nil {
			done.Error = cmp.Or(done.Error, err.Error())
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, done)
	}
	now := s.now.Load()
	for _, c := range now.logs() {
		read(c)
	}
	all := now.all()
	for _, x := range all[:len(all)-len(now.collectors)] {
		read(x)
	}
	return failed
}

// Describe adds all sources to a status.
func (s *Set) Describe(ctx context.Context, status *operation.Status) error {
	counts, err := s.o.Quarantine.Counts()
	if err != nil {
		return err
	}
	status.Sources, status.Collectors, status.Pulls = []operation.SourceStatus{}, []operation.CollectorStatus{}, []operation.PullStatus{}
	for _, x := range s.now.Load().withLeaving() {
		if err := x.Describe(ctx, status, counts[x.Name()]); err != nil {
			return fmt.Errorf("source %s: %w", x.Name(), err)
		}
	}
	return nil
}

// DescribeCollectors adds the collectors to a status, without what is in quarantine or
// waits in logs that are not open.
func DescribeCollectors(ctx context.Context, s *Set, status *operation.Status) error {
	for _, c := range s.now.Load().collectors {
		d, err := c.describe(ctx)
		if err != nil {
			return fmt.Errorf("source %s: %w", c.Name(), err)
		}
		status.Collectors = append(status.Collectors, d)
	}
	return nil
}

// Unread lists the sources with records for a pipeline that are not in the journal
// yet.
func (s *Set) Unread(ctx context.Context, p *config.Pipeline) ([]operation.Unread, error) {
	var list []operation.Unread
	for _, x := range s.now.Load().all() {
		u, err := x.Unread(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", x.Name(), err)
		}
		if u != nil {
			list = append(list, *u)
		}
	}
	return list, nil
}

// totals returns the numbers of refused records by reason.
func totals(counts map[string]quarantine.Count) map[string]int64 {
	sums := make(map[string]int64, len(counts))
	for reason, n := range counts {
		sums[reason] = n.Total()
	}
	return sums
}
