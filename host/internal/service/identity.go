package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// IdentityFailures implements Operations.
func (h links) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	list := &operation.IdentityFailures{Counts: []operation.IdentityCount{}, Failures: []operation.IdentityFailure{}}
	known := f.Project == ""
	for _, p := range h.Config().Projects {
		if f.Project != "" && p.Name != f.Project {
			continue
		}
		known = true
		if err := h.sealLinks(ctx, p); err != nil {
			return nil, err
		}
		x, err := h.Projects.Of(p).Links.Fold(ctx)
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
		return nil, operation.Faultf(operation.UnknownProject, "no project %q is configured", f.Project)
	}
	slices.SortFunc(list.Counts, func(a, b operation.IdentityCount) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Reason, b.Reason))
	})
	return list, nil
}

// sealLinks seals the rows that a serving host has taken, so that acknowledged links
// are folded.
func (h links) sealLinks(ctx context.Context, p *config.Project) error {
	if !h.Serving {
		return nil
	}
	return h.Projects.Of(p).Journal.Settle(ctx)
}

// identityStatus counts a project's folded links; nil when none were ever
// folded.
func (h links) identityStatus(ctx context.Context, id int64) (*operation.IdentityStatus, error) {
	for _, p := range h.Config().Projects {
		if p.ID != id {
			continue
		}
		index := h.Projects.Of(p).Links
		if !index.Exist() {
			return nil, nil
		}
		x, err := index.Index(ctx)
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
