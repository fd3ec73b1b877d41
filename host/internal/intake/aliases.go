package intake

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// aliases are the aliases of legacy projects. It implements collector.Aliases. Those of
// a project are unknown until the rows that its logs held at the start are folded:
// until then requests of the project are refused.
type aliases struct {
	o          *Options
	collectors func() []*Collector // that have a log now

	learning lifecycle.Gate
	learned  bool // whether learn was carried out; guarded by learning
}

func newAliases(o *Options, collectors func() []*Collector) *aliases {
	return &aliases{o: o, collectors: collectors, learning: lifecycle.NewGate()}
}

// errAliasesUnknown refuses a request until the aliases of its project are known.
var errAliasesUnknown = errors.New("the aliases of the project are not known yet")

// of returns the aliases of a project.
func (a *aliases) of(project int64) (*identity.Aliases, error) {
	if p := a.o.Projects.ByID(project); p != nil {
		if known := p.Links.Aliases(); known != nil {
			return known, nil
		}
	}
	return nil, errAliasesUnknown
}

// Target implements collector.Aliases.
func (a *aliases) Target(project int64, alias string) (string, bool, error) {
	known, err := a.of(project)
	if err != nil {
		return "", false, err
	}
	return known.Target(alias)
}

// Store implements collector.Aliases. Projects are taken in the order of their
// numbers, so that two stores do not wait for each other.
func (a *aliases) Store(list []collector.Alias, store func() error) error {
	by := map[int64][]collector.Alias{}
	for _, x := range list {
		by[x.Project] = append(by[x.Project], x)
	}
	for _, project := range slices.Backward(slices.Sorted(maps.Keys(by))) {
		known, err := a.of(project)
		if err != nil {
			return err
		}
		inner := store
		store = func() error {
			return known.Store(len(by[project]), inner, func() error {
				for _, x := range by[project] {
					if err := known.Add(x.Alias, x.ID); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return store()
}

// learn drains the logs of collectors into journals and folds the aliases of legacy
// projects, once: only then is it known under which ids events are stored. Every
// collector calls it before it opens its log. The projects for which it fails are left
// to serve. The error is that of ctx.
func (a *aliases) learn(ctx context.Context) error {
	leave, err := a.learning.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if a.learned {
		return nil
	}
	if !slices.ContainsFunc(a.o.Config().Projects, (*config.Project).Legacy) {
		a.learned = true // serve learns those of a project that a reload adds
		return nil
	}
	if err := a.learnAll(ctx); err != nil && ctx.Err() == nil {
		a.o.Log.Error("could not fold the aliases of legacy projects: their clients are answered 503; will retry", "error", a.o.Dir.ExplainRetried(err))
	}
	a.learned = true
	return nil
}

func (a *aliases) learnAll(ctx context.Context) error {
	if slices.ContainsFunc(a.collectors(), func(c *Collector) bool { return c.current() != nil }) {
		return nil // a reload has opened a log, which one goroutine drains: serve learns them
	}
	var failed error
	for _, c := range a.collectors() {
		_, _, err := c.drainAll(ctx)
		failed = errors.Join(failed, err)
	}
	for _, p := range a.o.Projects.All() {
		if p.Config.Legacy() && failed == nil {
			failed = p.Links.LearnAliases(ctx)
		}
	}
	return failed
}

// serve makes the aliases of a legacy project known while collectors listen, once the
// rows that logs held at the start are in its journal.
func (a *aliases) serve(ctx context.Context, p *project.Project) {
	pauses := lifecycle.Backoff{First: learnFirst, Limit: project.ReopenLimit}
	for ctx.Err() == nil && p.Links.Aliases() == nil {
		pause := pauses.Pause()
		if a.allHanded(p) {
			learned, err := a.learnHanded(ctx, p)
			if learned {
				a.o.Log.Info("the aliases of a legacy project are known", "project", p.Config.Name)
				return
			}
			if err == nil {
				err = errLost
			}
			a.o.Log.Error("could not fold the aliases of a legacy project: its clients are answered 503; will retry",
				"project", p.Config.Name, "error", a.o.Dir.ExplainRetried(err), "pause", pause.Round(time.Millisecond))
		}
		_ = a.o.Wait(ctx, pause) // the loop looks at ctx
	}
}

// errLost says that a journal has failed with rows that logs had handed to it.
var errLost = errors.New("its rows have to be handed to its journal again")

// learnHanded makes the aliases of a project known whose rows were handed to its
// journal, unless some of them are not sealed: a journal may have failed with them, and
// the one in its place takes them from the log again.
func (a *aliases) learnHanded(ctx context.Context, p *project.Project) (learned bool, err error) {
	if err := p.Journal.Settle(ctx); err != nil {
		return false, err
	}
	for _, c := range a.collectors() {
		l := c.current()
		if l == nil || l.begun == 0 {
			continue
		}
		if settled, err := l.log.Settled(ctx, p.Config.ID, l.begun); err != nil || !settled {
			return false, err
		}
	}
	err = p.Links.LearnAliases(ctx)
	return err == nil, err
}

// learnFirst is the first pause of serve.
const learnFirst = 100 * time.Millisecond

// allHanded reports whether all logs are open, and all rows of a project that they held
// then are in its journal.
func (a *aliases) allHanded(p *project.Project) bool {
	return !slices.ContainsFunc(a.collectors(), func(c *Collector) bool {
		l := c.current()
		return l == nil || l.begun > 0 && !l.log.Handed(p.Config.ID, l.begun)
	})
}

// settle folds the sealed aliases of a legacy project and drops those
// that were acknowledged before due, if everything that was acknowledged by then
// is folded. It returns the mark that is due next; nil when there is none.
// Aliases that are not folded take room in memory: when that is used up, further
// ones are refused until they are folded.
func (a *aliases) settle(ctx context.Context, p *project.Project, due *aliasMark) *aliasMark {
	known := p.Links.Aliases()
	if !p.Config.Legacy() || known == nil {
		return nil
	}
	sealed := due.sealed() // before the fold, which goes up to the last seal
	if _, err := p.Links.Fold(ctx); err != nil {
		if ctx.Err() == nil {
			a.o.Log.Error("could not fold aliases; will retry", "project", p.Config.Name, "error", err, "pause", project.SealEvery)
		}
		return due
	}
	if due != nil && !sealed {
		return due
	}
	if due != nil {
		known.Forget(due.mark)
	}
	return a.mark(known)
}

// aliasMark is a point in time: of aliases, and of the logs that they lie in.
type aliasMark struct {
	mark uint64
	logs map[*rowlog.Log]uint64 // their last entries
}

func (a *aliases) mark(known *identity.Aliases) *aliasMark {
	m := &aliasMark{mark: known.Mark(), logs: map[*rowlog.Log]uint64{}}
	for _, c := range a.collectors() {
		// A log that took no requests since the host began has no alias that is known only
		// from memory, and may hold rows for long.
		if l := c.current(); l != nil && !l.leaving {
			m.logs[l.log] = l.log.Last()
		}
	}
	return m
}

// sealed reports whether everything that logs held at the mark is sealed in
// journals.
func (m *aliasMark) sealed() bool {
	if m == nil {
		return false
	}
	for log, last := range m.logs {
		if log.Durable() < last {
			return false
		}
	}
	return true
}
