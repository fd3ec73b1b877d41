package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// indexCacheBytes is the memory that all indexes share.
const indexCacheBytes = 48 << 20

func (h *Host) identityPath(p *config.Project) string {
	return h.dir.Path(datadir.IdentityDir, strconv.FormatInt(p.ID, 10))
}

// identity opens a project's index of identity links, once.
func (h *Host) identity(p *config.Project) (*identity.Index, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.indexes[p.ID]; x != nil {
		return x, nil
	}
	if h.indexCache == nil {
		h.indexCache = identity.NewCache(indexCacheBytes)
	}
	scratch := ""
	if h.scratch != nil {
		dir, err := h.scratch.Path()
		if err != nil {
			return nil, err
		}
		scratch = filepath.Join(dir, datadir.IdentityDir, strconv.FormatInt(p.ID, 10))
	}
	x, err := identity.Open(identity.Options{
		Dir: h.identityPath(p), Rules: p.Identity, Journal: linkJournal{h, p}, Cache: h.indexCache, Log: h.log.With("project", p.Name),
		Scratch: scratch,
	})
	if err != nil {
		return nil, fmt.Errorf("project %s: %w", p.Name, err)
	}
	h.indexes[p.ID] = x
	return x, nil
}

// foldIdentity folds identity links. The index reads the journal itself: it may
// have to begin at its beginning, or be ahead.
func (h *Host) foldIdentity(s *state) folder {
	return func(ctx context.Context, last *pipeline.Generation, seq int64, _ func(context.Context, func(journal.Block) error) error) (*pipeline.Generation, error) {
		x, err := h.identity(s.project)
		if err != nil {
			return nil, err
		}
		return x.Generation(ctx, s.generations, last, seq)
	}
}

// linkJournal is a project's journal as its index of identity links sees it.
type linkJournal struct {
	host    *Host
	project *config.Project
}

// Links implements identity.Journal.
func (j linkJournal) Links(ctx context.Context, after, to int64, fn func(seq int64, extents []pipeline.Extent) error) error {
	return j.host.catalog.Extents(ctx, j.project.ID, journal.KindLinks, after, to, fn)
}

// Extent implements identity.Journal.
func (j linkJournal) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	return j.host.journals.reader(j.project).Extent(ctx, ref, fn)
}

// Segment implements identity.Journal.
func (j linkJournal) Segment(ctx context.Context, seq int64) (string, error) {
	latest, err := j.host.catalog.Sequence(ctx, j.project.ID)
	if err != nil || seq > latest {
		return "", err
	}
	return j.host.catalog.Blob(ctx, j.project.ID, seq)
}

// foldLinks folds all sealed links of a project into its index.
func (h *Host) foldLinks(ctx context.Context, p *config.Project) (*identity.Index, error) {
	x, err := h.identity(p)
	if err != nil {
		return nil, err
	}
	seq, err := h.catalog.Sequence(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	if err := x.Fold(ctx, seq); err != nil {
		return nil, fmt.Errorf("project %s: %w", p.Name, err)
	}
	return x, h.dropFolded(p)
}

// IdentityFailures implements Operations.
func (h *Host) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	list := &operation.IdentityFailures{Counts: []operation.IdentityCount{}, Failures: []operation.IdentityFailure{}}
	known := f.Project == ""
	for _, p := range h.config.Projects {
		if f.Project != "" && p.Name != f.Project {
			continue
		}
		known = true
		if err := h.sealLinks(ctx, p); err != nil {
			return nil, err
		}
		x, err := h.foldLinks(ctx, p)
		if err != nil {
			return nil, err
		}
		for reason, n := range x.Stats().Refused {
			list.Counts = append(list.Counts, operation.IdentityCount{Project: p.Name, Reason: string(reason), Count: n})
		}
		failures, err := x.Failures(f.Limit)
		if err != nil {
			return nil, fmt.Errorf("project %s: %w", p.Name, err)
		}
		for _, r := range failures {
			list.Failures = append(list.Failures, operation.IdentityFailure{
				Project: p.Name, Time: r.Time, Reason: string(r.Reason), Description: r.Description, Verb: string(r.Verb),
				AnonymousID: r.AnonymousID, IdentifiedID: r.IdentifiedID,
			})
		}
	}
	if !known {
		return nil, fmt.Errorf("no project %q is configured", f.Project)
	}
	slices.SortFunc(list.Counts, func(a, b operation.IdentityCount) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Reason, b.Reason))
	})
	return list, nil
}

// sealLinks seals the rows that a serving host has taken, so that acknowledged links
// are folded.
func (h *Host) sealLinks(ctx context.Context, p *config.Project) error {
	if !h.serving {
		return nil
	}
	j, err := h.journal(ctx, p)
	if err != nil {
		return err
	}
	return j.writer.Seal(ctx)
}

// identityStatus counts a project's folded links; nil when none were ever
// folded.
func (h *Host) identityStatus(id int64) (*operation.IdentityStatus, error) {
	for _, p := range h.config.Projects {
		if p.ID != id {
			continue
		}
		if _, err := os.Stat(h.identityPath(p)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		x, err := h.identity(p)
		if err != nil {
			return nil, err
		}
		s := x.Stats()
		status := &operation.IdentityStatus{Sequence: s.Sequence, IDs: s.IDs, Mappings: s.Mappings}
		for reason, n := range s.Refused {
			if status.Refused == nil {
				status.Refused = map[string]int64{}
			}
			status.Refused[string(reason)] = n
		}
		return status, nil
	}
	return nil, nil
}
