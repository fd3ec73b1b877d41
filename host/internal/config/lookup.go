package config

import "github.com/penstock-io/penstock/host/internal/pipeline"

// ProjectByID returns the project of an id; nil: none has it.
func (c *Config) ProjectByID(id int64) *Project {
	for _, p := range c.Projects {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Pipeline returns the pipeline of a name; nil: none has it.
func (c *Config) Pipeline(name string) *Pipeline {
	for _, p := range c.Pipelines {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Definition returns the part of a pipeline that is registered.
func (p *Pipeline) Definition() pipeline.Definition {
	return pipeline.Definition{
		Name: p.Name, ProjectID: p.Project.ID, Stream: p.Stream, Destination: p.Destination.Reference(),
		From: p.From, To: p.To, Order: p.Order, Schedule: p.Schedule, LeaveLate: p.LeaveLate, MaxRunBytes: p.MaxRun, Paused: p.Paused, Adopt: p.Adopt,
	}
}
