package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// DefinitionChange is a difference between the block of a pipeline and its registration:
// the next start of a host carries it out, or is refused because of it.
type DefinitionChange struct {
	Pipeline  string `json:"pipeline"`
	Attribute string `json:"attribute,omitempty"` // empty: the block as a whole
	Was       string `json:"was,omitempty"`
	Is        string `json:"is,omitempty"`
	File      string `json:"file,omitempty"` // empty: the block is gone
	Line      int    `json:"line,omitempty"`
	Refused   bool   `json:"refused,omitempty"`
	// Consequence is a sentence: the effect of the change, and what to do if it is
	// refused.
	Consequence string `json:"consequence"`
}

// DefinitionChanges compares the pipelines of a configuration with those that are
// registered in its data directory, which may be in use. A data directory that does not
// exist has none.
func DefinitionChanges(ctx context.Context, c *config.Config) ([]DefinitionChange, error) {
	s := &stored{ctx: ctx}
	defer s.close()
	if s.open(c.Host.DataDir); s.err != nil {
		return nil, s.err
	}
	changes := []DefinitionChange{}
	for _, p := range c.Pipelines {
		if registered := s.pipelines[p.Name]; registered != nil && p.Project != nil && p.Destination != nil {
			if change := changed(p, registered); change != nil {
				changes = append(changes, *change)
			}
		}
	}
	var gone []string
	for name, registered := range s.pipelines {
		if registered.State != pipeline.Cancelled && c.Pipeline(name) == nil {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		changes = append(changes, DefinitionChange{
			Pipeline: name, Consequence: "it is not in the configuration: no run of it is planned, its records stay, and its dates stay taken at the destination. " +
				"penstock pipelines forget " + name + " drops it",
		})
	}
	return changes, nil
}

// changed returns the change of a pipeline that is registered; nil: there is none.
func changed(p *config.Pipeline, registered *pipeline.Pipeline) *DefinitionChange {
	change := DefinitionChange{Pipeline: p.Name, File: p.Range.Filename, Line: p.Range.Start.Line}
	var fixed *pipeline.ChangedError
	switch {
	case registered.State == pipeline.Cancelled:
		change.Consequence = "it was cancelled: no run of it is planned. Remove the block; a pipeline with another name and adopt = true goes on where it stopped"
		return &change
	case errors.As(registered.Unchanged(p.Definition()), &fixed):
		change.Attribute, change.Was, change.Is, change.Refused = fixed.Attribute, fixed.Was, fixed.Is, true
		change.Consequence = fmt.Sprintf("this is fixed since the pipeline was registered, and the next start of a host is refused. Write %s again, "+
			"or give the pipeline another name, with adopt = true if it is to go on where this one stopped", fixed.Was)
	case p.To < registered.To:
		change.Attribute, change.Consequence = "to_date", "later dates are not exported any more; rows of them that are at the destination stay"
	case p.To > registered.To:
		change.Attribute, change.Consequence = "to_date", "the dates up to then are exported as well, with all rows that the journal has of them, and none twice"
	default:
		return nil
	}
	if change.Attribute == "to_date" {
		change.Was, change.Is = lastDate(registered.To), lastDate(p.To)
	}
	if at := p.AttributeRange(change.Attribute); at.Filename != "" {
		change.File, change.Line = at.Filename, at.Start.Line
	}
	return &change
}

func lastDate(d interface{ String() string }) string {
	if d == pipeline.Forever {
		return "none"
	}
	return d.String()
}
