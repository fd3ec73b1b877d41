package project

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Set holds all configured projects, and those that reloads have removed: rows of them
// may still wait in the logs of collectors. It may be used concurrently.
type Set struct {
	shared *shared
	now    atomic.Pointer[projects]
}

// projects are the projects of a Set. They do not change.
type projects struct {
	all  []*Project // in the order in which they came
	byID map[int64]*Project
}

// New returns the projects of a configuration. Nothing is opened before it is used.
// The caller closes the set.
func New(o Options, configured []*config.Project) *Set {
	s := &Set{shared: &shared{Options: o, folds: lifecycle.NewGate()}}
	s.now.Store(&projects{byID: map[int64]*Project{}})
	for _, c := range configured {
		s.Add(newProject(s.shared, c))
	}
	return s
}

// All returns the projects, in the order in which they were configured.
func (s *Set) All() []*Project { return s.now.Load().all }

// Of returns the project of a block of the configuration.
func (s *Set) Of(c *config.Project) *Project { return s.ByID(c.ID) }

// ByID returns the project of an id; nil: none was configured since the host began.
func (s *Set) ByID(id int64) *Project { return s.now.Load().byID[id] }

// Prepare opens the journal of a project that a reload adds, which is not in the set
// before Add. After an error nothing is open. The caller calls Add or Drop.
func (s *Set) Prepare(ctx context.Context, c *config.Project) (*Project, error) {
	p := newProject(s.shared, c)
	if _, err := p.Journal.Writer(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal of project %s: %w", c.Name, err), p.Drop())
	}
	p.sweep(ctx)
	return p, nil
}

// Returned returns the project of a block that an earlier reload has removed and another
// one adds again; nil: there is none. One that has come back with other attributes is
// refused.
func (s *Set) Returned(c *config.Project) (*Project, error) {
	p := s.ByID(c.ID)
	if p == nil {
		return nil, nil
	}
	if was := p.Config; was.Name != c.Name || was.Token != c.Token || was.Identity != c.Identity || was.ProfilesPulled != c.ProfilesPulled || was.TimeZone.String() != c.TimeZone.String() {
		return nil, fmt.Errorf("project %s was removed by an earlier reload and has come back with other attributes: restart the host", c.Name)
	}
	return p, nil
}

// Drop closes a project that was prepared and is not added.
func (p *Project) Drop() error { return errors.Join(p.Links.close(), p.Journal.close()) }

// Add adds a project. One at a time may be added.
func (s *Set) Add(p *Project) {
	before := s.now.Load()
	next := &projects{all: append(slices.Clone(before.all), p), byID: maps.Clone(before.byID)}
	next.byID[p.Config.ID] = p
	s.now.Store(next)
}

// Open opens the journals of all projects, which finishes the work that a crash has
// interrupted. It ends at the first error.
func (s *Set) Open(ctx context.Context) error {
	for _, p := range s.All() {
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
	for _, p := range s.All() {
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
		s.shared.Log.Error("could not open the journal; will retry", "project", p.Config.Name, "error", s.shared.Dir.ExplainRetried(err))
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
	for _, p := range s.All() {
		failed = errors.Join(failed, p.Journal.seal(ctx))
	}
	return failed
}

// Close closes all journals and indexes. Rows that are not sealed are dropped.
func (s *Set) Close() error {
	var failed error
	for _, p := range s.All() {
		failed = errors.Join(failed, p.Links.close())
	}
	s.shared.cache.close()
	for _, p := range s.All() {
		failed = errors.Join(failed, p.Journal.close())
	}
	return failed
}
