package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// aliasesOf are the aliases of a host's legacy projects. It implements
// collector.Aliases. Those of a project are unknown until the rows that its logs
// held at the start are folded: until then requests of the project are refused.
type aliasesOf struct{ host *Host }

// errAliasesUnknown refuses a request until the aliases of its project are known.
var errAliasesUnknown = errors.New("the aliases of the project are not known yet")

// of returns the aliases of a project.
func (a aliasesOf) of(project int64) (*identity.Aliases, error) {
	if p := a.host.projects.ByID(project); p != nil {
		if known := p.Links.Aliases(); known != nil {
			return known, nil
		}
	}
	return nil, errAliasesUnknown
}

// Target implements collector.Aliases.
func (a aliasesOf) Target(project int64, alias string) (string, bool, error) {
	known, err := a.of(project)
	if err != nil {
		return "", false, err
	}
	return known.Target(alias)
}

// Store implements collector.Aliases. Projects are taken in the order of their
// numbers, so that two stores do not wait for each other.
func (a aliasesOf) Store(list []collector.Alias, store func() error) error {
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

// learnAliases drains the logs of collectors into journals and folds the aliases
// of legacy projects: only then is it known under which ids events are stored.
// It runs before collectors listen. The projects for which it fails are left to
// serveAliases.
func (h *Host) learnAliases(ctx context.Context) {
	if !slices.ContainsFunc(h.config.Projects, (*config.Project).Legacy) || len(h.config.Collectors) == 0 {
		return
	}
	err := h.drainCollectors(ctx, &operation.Summary{})
	for _, p := range h.config.Projects {
		if p.Legacy() && err == nil {
			err = h.know(ctx, p)
		}
	}
	if err != nil && ctx.Err() == nil {
		h.log.Error("could not fold the aliases of legacy projects: their clients are answered 503; will retry", "error", h.dir.Explain(err))
	}
}

// know folds the sealed links of a legacy project, whose aliases are known from
// then on.
func (h *Host) know(ctx context.Context, p *config.Project) error {
	return h.projects.Of(p).Links.LearnAliases(ctx)
}

// serveAliases makes the aliases of a legacy project known while collectors
// listen, once the rows that logs held at the start are in its journal.
func (h *Host) serveAliases(ctx context.Context, p *config.Project) {
	pauses := lifecycle.Backoff{First: learnFirst, Limit: project.ReopenLimit}
	for p.Legacy() && ctx.Err() == nil {
		_, err := aliasesOf{h}.of(p.ID)
		if err == nil {
			return
		}
		pause := pauses.Pause()
		if h.allHanded(p) {
			if err = h.projects.Of(p).Journal.Settle(ctx); err == nil {
				err = h.know(ctx, p)
			}
			if err == nil {
				h.log.Info("the aliases of a legacy project are known", "project", p.Name)
				return
			}
			h.log.Error("could not fold the aliases of a legacy project: its clients are answered 503; will retry",
				"project", p.Name, "error", h.dir.Explain(err), "pause", pause.Round(time.Millisecond))
		}
		_ = lifecycle.Wait(ctx, pause) // the loop looks at ctx
	}
}

// learnFirst is the first pause of serveAliases.
const learnFirst = 100 * time.Millisecond

// allHanded reports whether all rows of a project that logs held when they were
// opened are in its journal.
func (h *Host) allHanded(p *config.Project) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(h.collectors, func(l *collecting) bool { return l.begun > 0 && !l.log.Handed(p.ID, l.begun) })
}

// settleAliases folds the sealed aliases of a legacy project and drops those
// that were acknowledged before due, if everything that was acknowledged by then
// is folded. It returns the mark that is due next; nil when there is none.
// Aliases that are not folded take room in memory: when that is used up, further
// ones are refused until they are folded.
func (h *Host) settleAliases(ctx context.Context, p *config.Project, due *aliasMark) *aliasMark {
	known := h.projects.Of(p).Links.Aliases()
	if !p.Legacy() || known == nil {
		return nil
	}
	sealed := due.sealed() // before the fold, which goes up to the last seal
	if _, err := h.projects.Of(p).Links.Fold(ctx); err != nil {
		if ctx.Err() == nil {
			h.log.Error("could not fold aliases; will retry", "project", p.Name, "error", err, "pause", project.SealEvery)
		}
		return due
	}
	if due != nil && !sealed {
		return due
	}
	if due != nil {
		known.Forget(due.mark)
	}
	return h.markAliases(known)
}

// aliasMark is a point in time: of aliases, and of the logs that they lie in.
type aliasMark struct {
	mark uint64
	logs map[*rowlog.Log]uint64 // their last entries
}

func (h *Host) markAliases(known *identity.Aliases) *aliasMark {
	m := &aliasMark{mark: known.Mark(), logs: map[*rowlog.Log]uint64{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.collectors {
		m.logs[l.log] = l.log.Last()
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
