package runner

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// refuseAdoption returns a *catalog.AdoptError if a pipeline would adopt dates of another one
// that is configured, too, and goes on writing them: two pipelines that adopt each other
// would both export what comes from then on. A pipeline that was cancelled writes nothing,
// so that another one may have adopted its dates since.
func refuseAdoption(ctx context.Context, p *Pipeline, targets []pipeline.Target) error {
	if !p.Config.Adopt {
		return nil
	}
	def := p.Config.Definition()
	own, err := p.o.Catalog.Pipeline(ctx, def.Name)
	if err != nil && !errors.Is(err, catalog.ErrUnknownPipeline) {
		return err
	}
	if err == nil && own.State == pipeline.Cancelled {
		return nil
	}
	claims, err := p.o.Catalog.Claims(ctx, def, targets)
	if err != nil {
		return err
	}
	for _, c := range claims {
		other := p.byName(c.Pipeline)
		if other == nil || other.Config.Stream != def.Stream || elsewhere(other, targets) {
			continue
		}
		return &catalog.AdoptError{
			Pipeline: def.Name, Other: c.Pipeline, URI: c.URI,
			Reason: "it is configured, too, and would go on there: rows of dates that both have would be there twice. Remove its block, or give the two other dates",
		}
	}
	return nil
}

// elsewhere reports whether a pipeline's destination was asked for its targets, and none of
// them meets any of targets: the catalog need not be asked.
func elsewhere(p *Pipeline, targets []pipeline.Target) bool {
	if p.o.Destinations == nil {
		return false
	}
	d := p.o.Destinations.Asked(p.Config.Destination)
	if d == nil {
		return false
	}
	if _, ok := d.Answered(p.Config.Project.ID); !ok {
		return false
	}
	for _, t := range d.Targets(p.Config) {
		if meetsAny(targets, t) {
			return false
		}
	}
	return true
}

func meetsAny(targets []pipeline.Target, place pipeline.Target) bool {
	for _, t := range targets {
		if t.Meets(place) {
			return true
		}
	}
	return false
}
