package runner

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// A pipeline does not adopt dates of one that is configured, too: both would write them.
func TestDatesOfAConfiguredPipelineAreNotAdopted(t *testing.T) {
	t.Parallel()
	r, source := folding(t)
	place := []pipeline.Target{{ProjectID: 1, Stream: batch.Events, URI: "file:///out/"}}
	block := func(name string) *config.Pipeline {
		return &config.Pipeline{
			Name: name, Project: source.Config, Stream: batch.Events, To: pipeline.Forever, Adopt: true,
			Destination: &config.Destination{Type: "localfs", Name: name},
		}
	}
	former, next := block("former"), block("next")
	if _, err := r.o.Catalog.RegisterPipeline(t.Context(), former.Definition(), place, time.Now()); err != nil {
		t.Fatal(err)
	}
	refusal := func(blocks ...*config.Pipeline) error {
		return refuseAdoption(t.Context(), New(*r.o, blocks).ByName("next"), place)
	}
	var refused *catalog.AdoptError
	if err := refusal(former, next); !errors.As(err, &refused) || refused.Other != "former" {
		t.Errorf("both are configured: %v", err)
	}
	if err := refusal(next); err != nil {
		t.Errorf("the other is not configured any more: %v", err)
	}
	apart := *former
	apart.To = 100
	if _, err := r.o.Catalog.RegisterPipeline(t.Context(), apart.Definition(), place, time.Now()); err != nil {
		t.Fatal(err)
	}
	next.From = 101
	if err := refusal(&apart, next); err != nil {
		t.Errorf("they have other dates: %v", err)
	}
	next.From = 100
	if err := refusal(&apart, next); !errors.As(err, &refused) {
		t.Errorf("they have a date in common: %v", err)
	}
	if _, err := r.o.Catalog.CancelPipeline(t.Context(), "former"); err != nil {
		t.Fatal(err)
	}
	if err := refusal(&apart, next); err != nil {
		t.Errorf("the other is over: %v", err)
	}
	if _, err := r.o.Catalog.RegisterPipeline(t.Context(), next.Definition(), place, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := refuseAdoption(t.Context(), New(*r.o, []*config.Pipeline{&apart, next}).ByName("former"), place); err != nil {
		t.Errorf("the one that is over does not write any more: %v", err)
	}
}
