package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Source supervises one source block.
type Source interface {
	// Name is how cursors and quarantined records name the source: "files.import".
	Name() string
	// Serve takes records until ctx is done, and returns when nothing that it started
	// runs any more. A failure is tried again; an error ends the host.
	Serve(ctx context.Context) error
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
	Config     *config.Config
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

// Set holds the sources of a configuration. It does not change, and may be used
// concurrently.
type Set struct {
	Pulls *Pulls

	o          *Options
	all        []Source // files, then those that pull, then collectors
	collectors []*Collector
	aliases    *aliases
	trims      lifecycle.Gate // see logDir
}

// Open returns the sources of a configuration. Nothing is read or asked. The caller
// closes the set.
func Open(ctx context.Context, o Options) (*Set, error) {
	s := &Set{o: &o, trims: lifecycle.NewGate()}
	for _, c := range o.Config.Sources {
		s.all = append(s.all, &Files{o: &o, config: c, project: o.Projects.Of(c.Project)})
	}
	var err error
	if s.Pulls, err = openPulls(ctx, &o); err != nil {
		s.Close()
		return nil, err
	}
	for _, p := range s.Pulls.all {
		s.all = append(s.all, p)
	}
	for _, c := range o.Config.Collectors {
		s.collectors = append(s.collectors, newCollector(&o, c, s.trims))
	}
	s.aliases = newAliases(&o, s.collectors)
	for _, c := range s.collectors {
		c.aliases = s.aliases
		s.all = append(s.all, c)
	}
	return s, nil
}

// Len returns how many sources there are.
func (s *Set) Len() int { return len(s.all) }

// Close frees sources that are not served.
func (s *Set) Close() {
	for _, x := range s.all {
		x.Close()
	}
}

// Serve serves all sources in a group, and keeps the aliases of legacy projects.
func (s *Set) Serve(g *lifecycle.Group) {
	for _, x := range s.all {
		g.Go(x.Serve)
	}
	for _, p := range s.o.Projects.All() {
		if p.Config.Legacy() {
			g.Go(func(ctx context.Context) error {
				s.aliases.serve(ctx, p)
				return nil
			})
		}
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
	for _, c := range s.collectors {
		if l := c.current(); l != nil {
			l.trim(ctx)
		}
	}
}

// Reload takes over the secrets, accounts and origins of collectors, and reads their
// certificates again. Sources that are not in the set are left out. The error names the
// certificates that could not be read: the ones before are still used.
func (s *Set) Reload(ctx context.Context, collectors []*config.Collector) error {
	var failed error
	for _, c := range s.collectors {
		for _, next := range collectors {
			if next.Name == c.config.Name {
				failed = errors.Join(failed, c.setAccess(ctx, next))
			}
		}
	}
	return failed
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
	for _, c := range s.collectors {
		read(c)
	}
	for _, x := range s.all[:len(s.all)-len(s.collectors)] {
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
	for _, x := range s.all {
		if err := x.Describe(ctx, status, counts[x.Name()]); err != nil {
			return fmt.Errorf("source %s: %w", x.Name(), err)
		}
	}
	return nil
}

// Unread lists the sources with records for a pipeline that are not in the journal
// yet.
func (s *Set) Unread(ctx context.Context, p *config.Pipeline) ([]operation.Unread, error) {
	var list []operation.Unread
	for _, x := range s.all {
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
