package host

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// isLegacy reports whether events of a project are stored under the ids that
// their ids are aliases for.
func isLegacy(p *config.Project) bool { return p.Identity == "legacy" }

// aliasesOf are the aliases of legacy projects, by project. It implements
// collector.Aliases.
type aliasesOf map[int64]*identity.Aliases

// Target implements collector.Aliases.
func (a aliasesOf) Target(project int64, alias string) (string, bool, error) {
	return a[project].Target(alias)
}

// Store implements collector.Aliases. Projects are taken in the order of their
// numbers, so that two stores do not wait for each other.
func (a aliasesOf) Store(list []collector.Alias, store func() error) error {
	by := map[int64][]collector.Alias{}
	for _, x := range list {
		by[x.Project] = append(by[x.Project], x)
	}
	for _, project := range slices.Backward(slices.Sorted(maps.Keys(by))) {
		inner := store
		store = func() error {
			return a[project].Store(len(by[project]), inner, func() error {
				for _, x := range by[project] {
					if err := a[project].Add(x.Alias, x.ID); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return store()
}

// aliases returns the aliases of the legacy ones among projects, folded up to the
// last seal; nil when no project is legacy.
func (h *Host) aliases(ctx context.Context, projects []*config.Project) (collector.Aliases, error) {
	list := aliasesOf{}
	for _, p := range projects {
		if !isLegacy(p) {
			continue
		}
		h.mu.Lock()
		known := h.known[p.ID]
		h.mu.Unlock()
		if known == nil {
			x, err := h.foldLinks(ctx, p)
			if err != nil {
				return nil, err
			}
			h.mu.Lock()
			if known = h.known[p.ID]; known == nil {
				known = identity.NewAliases(x)
				h.known[p.ID] = known
			}
			h.mu.Unlock()
		}
		list[p.ID] = known
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list, nil
}

// learnAliases drains the logs of collectors into journals and folds the aliases
// of legacy projects: only then is it known under which ids events are stored.
// It runs before collectors listen.
func (h *Host) learnAliases(ctx context.Context) error {
	if !slices.ContainsFunc(h.config.Projects, isLegacy) || len(h.config.Collectors) == 0 {
		return nil
	}
	if err := h.drainCollectors(ctx, &Summary{}); err != nil {
		return err
	}
	for _, p := range h.config.Projects {
		if isLegacy(p) {
			if _, err := h.foldLinks(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleAliases folds the sealed aliases of a legacy project and drops those
// that were acknowledged before due, if everything that was acknowledged by then
// is folded. It returns the mark that is due next; nil when there is none.
// Aliases that are not folded take room in memory: when that is used up, further
// ones are refused until they are folded.
func (h *Host) settleAliases(ctx context.Context, p *config.Project, due *aliasMark) *aliasMark {
	h.mu.Lock()
	known := h.known[p.ID]
	h.mu.Unlock()
	if !isLegacy(p) || known == nil {
		return nil
	}
	sealed := due.sealed() // before the fold, which goes up to the last seal
	if _, err := h.foldLinks(ctx, p); err != nil {
		if ctx.Err() == nil {
			h.log.Error("could not fold aliases; will retry", "project", p.Name, "error", err, "pause", sealEvery)
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

// dropFolded removes aliases from memory that the index holds already.
func (h *Host) dropFolded(p *config.Project) error {
	h.mu.Lock()
	known := h.known[p.ID]
	h.mu.Unlock()
	if known == nil {
		return nil
	}
	if err := known.Settle(); err != nil {
		return fmt.Errorf("project %s: %w", p.Name, err)
	}
	return nil
}
