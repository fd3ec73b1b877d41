package project

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Options are the stores and parts that projects share. All are required but Scratch
// and, where nothing is folded or served, Spill and Wait.
type Options struct {
	Dir     datadir.Dir
	Store   disk.Store // of segments and generations
	Spill   disk.Store // in which folds sort
	Catalog *catalog.Catalog
	Memory  int64 // bytes for the open blocks of one journal
	// Scratch is where indexes are opened for reading only; nil: they are in Dir.
	Scratch  *datadir.Scratch
	Now      func() time.Time
	Wait     func(context.Context, time.Duration) error // of ServeSeals
	Names    func() string                              // of segments, all different; nil: random
	Log      *slog.Logger
	Observer progress.Observer
}

// Project is one project.
type Project struct {
	Config           *config.Project
	Journal          *Journal
	People, Identity *State
	Links            *Links
	shared           *shared
}

// shared is used by the projects of one Set together.
type shared struct {
	Options
	folds lifecycle.Gate // one fold at a time takes memory
	cache indexCache
}

func newProject(o *shared, c *config.Project) *Project {
	p := &Project{Config: c, shared: o, Journal: newJournal(c.Name, o.Now, o.Log, func(ctx context.Context) (*journal.Writer, error) {
		return openWriter(ctx, o, c)
	}, journal.NewReader(c.ID, o.Store, o.Catalog))}
	p.Links = newLinks(o, c, p.Journal.Reader())
	p.People = newState(o, c, batch.People, p.Journal.Reader())
	p.People.fold = p.People.foldPeople
	p.Identity = newState(o, c, batch.Identity, p.Journal.Reader())
	p.Identity.fold = p.Identity.foldIdentity(p.Links)
	return p
}

// State returns the state of people or identity mappings.
func (p *Project) State(stream batch.Stream) *State {
	if stream == batch.People {
		return p.People
	}
	return p.Identity
}

// Generation implements export.Generations.
func (p *Project) Generation(ctx context.Context, stream batch.Stream, blob string, fn func(journal.Block) error) error {
	return p.State(stream).Generations.Blocks(ctx, blob, fn)
}

// SealEvery is how often rows become durable while a host serves.
const SealEvery = 30 * time.Second

// ServeSeals makes rows durable from time to time until ctx is done. sealed is called
// after each time.
func (p *Project) ServeSeals(ctx context.Context, sealed func(context.Context)) {
	for p.shared.Wait(ctx, SealEvery) == nil {
		if err := p.Journal.Settle(ctx); err != nil && ctx.Err() == nil {
			p.shared.Log.Error("could not seal the journal; will retry", "project", p.Config.Name, "error", err)
		}
		sealed(ctx)
	}
}

// sweep removes the blocks of folds that a crash has interrupted. Blocks that cannot
// be removed stay: they only take disk space.
func (p *Project) sweep(ctx context.Context) {
	for _, s := range []*State{p.People, p.Identity} {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.shared.Log.Warn("old generations could not be removed", "project", p.Config.Name, "stream", s.stream.String(), "error", err)
		}
	}
}

// openWriter opens a journal for writing, which finishes the work that a crash has
// interrupted.
func openWriter(ctx context.Context, o *shared, c *config.Project) (*journal.Writer, error) {
	if err := checkBlobs(ctx, o, c); err != nil {
		return nil, err
	}
	return journal.Open(ctx, journal.Options{
		Project: c.ID, Zone: c.TimeZone, Store: o.Store, Catalog: o.Catalog, Now: o.Now, Memory: o.Memory, Names: o.Names,
		Warn: func(err error) {
			o.Log.Error("a fault of Penstock's was mended; please report it", "project", c.Name, "error", err)
		},
	})
}

// checkBlobs refuses a directory without segments where the catalog knows
// some: it is not the one that they are in.
func checkBlobs(ctx context.Context, o *shared, c *config.Project) error {
	known, err := o.Catalog.Blobs(ctx, c.ID)
	if err != nil || len(known) == 0 {
		return err
	}
	found, err := o.Store.List(ctx, fmt.Sprintf("segments/%d", c.ID))
	if err != nil || len(found) > 0 {
		return err
	}
	return fmt.Errorf("the catalog in %s knows %d segments of project %s, and in %s there is none: was blobs changed, or is a disk not mounted?",
		o.Dir.Data, len(known), c.Name, o.Dir.Blobs)
}
