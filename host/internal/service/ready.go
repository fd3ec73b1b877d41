package service

import (
	"cmp"
	"context"
	"slices"

	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// Ready returns the conditions under which the host works as it should: the catalog
// answers, each journal takes rows, each plugin of a pipeline is found, and each collector
// answers its clients.
func (s *Service) Ready(ctx context.Context) []operation.Readiness {
	h := s.status.Options
	_, err := h.Catalog.Projects(ctx)
	all := []operation.Readiness{readiness("catalog", textOf(err))}
	for _, p := range h.Projects.All() {
		all = append(all, readiness("journal "+p.Config.Name, textOf(p.Journal.Err())))
	}
	for _, typ := range h.exportedTypes() {
		all = append(all, readiness("plugin "+typ, textOf(h.FindPlugin(typ))))
	}
	listening := &operation.Status{}
	if err := intake.DescribeCollectors(ctx, h.Intake, listening); err != nil {
		return append(all, readiness("sources", err.Error()))
	}
	for _, c := range listening.Collectors {
		reason := c.Failing
		if !c.Listening {
			reason = cmp.Or(reason, "it does not listen yet")
		}
		all = append(all, readiness("source "+c.Name, reason))
	}
	return all
}

// readiness is a condition that holds unless there is a reason.
func readiness(check, reason string) operation.Readiness {
	return operation.Readiness{Check: check, Ready: reason == "", Reason: reason}
}

// exportedTypes returns the types of the destinations that pipelines export to, sorted.
func (h *Options) exportedTypes() []string {
	var types []string
	for _, p := range h.Config().Pipelines {
		types = append(types, p.Destination.Type)
	}
	slices.Sort(types)
	return slices.Compact(types)
}
