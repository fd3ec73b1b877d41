package project

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Set holds all configured projects. It may be used concurrently.
type Set struct {
	shared *shared
	all    []*Project // in the order of the configuration
	byID   map[int64]*Project
}

// New returns the projects of a configuration. Nothing is opened before it is used.
// The caller closes the set.
func New(o Options, projects []*config.Project) *Set {
	s := &Set{shared: &shared{Options: o, folds: lifecycle.NewGate()}, byID: map[int64]*Project{}}
	for _, c := range projects {
		p := newProject(s.shared, c)
		s.all = append(s.all, p)
		s.byID[c.ID] = p
	}
	return s
}

// All returns the projects in the order of the configuration.
func (s *Set) All() []*Project { return s.all }

// Of returns the project of a block of the configuration.
func (s *Set) Of(c *config.Project) *Project { return s.byID[c.ID] }

// ByID returns the project of an id; nil: none is configured.
func (s *Set) ByID(id int64) *Project { return s.byID[id] }

// Open opens the journals of all projects, which finishes the work that a crash has
// interrupted. It ends at the first error.
func (s *Set) Open(ctx context.Context) error {
	for _, p := range s.all {
		if _, err := p.Journal.Writer(ctx); err != nil {
			return err
		}
		p.sweep(ctx)
	}
	return nil
}

// OpenSome opens the journals of all projects, and leaves one for later that cannot be
// opened. It returns an error if there is no other, and this one needs a person.
func (s *Set) OpenSome(ctx context.Context) error {
	var failed error
	works := false
	for _, p := range s.all {
		_, err := p.Journal.Writer(ctx)
		if err == nil {
			works = true
			p.sweep(ctx)
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		if datadir.IsTransient(err) {
			works = true
		} else {
			failed = errors.Join(failed, err)
		}
		s.shared.Log.Error("could not open the journal; will retry", "project", p.Config.Name, "error", s.shared.Dir.Explain(err))
	}
	if works {
		return nil
	}
	return failed
}

// Stats returns the sums of the counters of projects' journals since each was opened
// last.
func (s *Set) Stats(projects []*config.Project) (sum journal.Stats) {
	for _, c := range projects {
		n := s.Of(c).Journal.Stats()
		sum.Rows, sum.Kept, sum.Duplicates = sum.Rows+n.Rows, sum.Kept+n.Kept, sum.Duplicates+n.Duplicates
	}
	return sum
}

// Seal seals all open journals.
func (s *Set) Seal(ctx context.Context) error {
	var failed error
	for _, p := range s.all {
		failed = errors.Join(failed, p.Journal.seal(ctx))
	}
	return failed
}

// Close closes all journals and indexes. Rows that are not sealed are dropped.
func (s *Set) Close() error {
	var failed error
	for _, p := range s.all {
		failed = errors.Join(failed, p.Links.close())
	}
	s.shared.cache.close()
	for _, p := range s.all {
		failed = errors.Join(failed, p.Journal.close())
	}
	return failed
}
