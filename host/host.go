package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/host/internal/scheduler"
	"github.com/penstock-io/penstock/host/internal/service"
	"github.com/penstock-io/penstock/host/internal/upkeep"
)

// Options say where a host reports its work. The zero value reports nothing.
type Options struct {
	Observer Observer
	Log      *slog.Logger
	// Load reads the configuration again, when the host serves and is told to reload;
	// nil: it cannot.
	Load func(context.Context) (*Config, Diagnostics, error)
	// Hangups tells the host to reload.
	Hangups <-chan os.Signal
	// Level is the level of Log, which a reload changes; nil: it stays.
	Level *slog.LevelVar
}

// Host owns a data directory. Close gives it back.
type Host struct {
	config   *Config // that the host was started with
	reload   *reload
	dir      datadir.Dir
	grace    *lifecycle.Grace // of the work that a host does while it stops
	log      *slog.Logger
	observer progress.Observer
	locks    datadir.Locks
	scratch  *datadir.Scratch // of a host that only looks; nil: it writes to the data directory
	prepared *lifecycle.Once

	catalog    *catalog.Catalog
	store      *disk.Dir
	quarantine *quarantine.Store
	plugins    *plugin.Manager // nil: it only looks

	places   *destination.Set // nil: it only looks
	projects *project.Set
	intake   *intake.Set
	runner   *runner.Runner
	schedule *scheduler.Scheduler
	upkeep   *upkeep.Upkeep
	port     port // of a host that serves
}

// Open locks the data directory of a configuration and opens its files.
// Nothing is read from sources, and no plugin runs, before RunOnce or Serve. A
// directory that another process owns is a *LockedError.
func Open(ctx context.Context, c *Config, o Options) (*Host, error) {
	held, err := dirOf(c).LockData(ctx)
	if err != nil {
		return nil, err
	}
	return openLocked(ctx, c, o, held)
}

// openLocked opens a data directory that is locked; the host keeps the lock.
func openLocked(ctx context.Context, c *Config, o Options, held datadir.Locks) (*Host, error) {
	h := newHost(c, o, held)
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(h.dir.Explain(err), h.Close())
	}
	return h, nil
}

// newHost returns a host that has nothing open but its locks.
func newHost(c *Config, o Options, held datadir.Locks) *Host {
	h := &Host{
		config: c, dir: dirOf(c), grace: lifecycle.NewGrace(lifecycle.StopTime, lifecycle.StopLeast, time.Now),
		log: o.Log, observer: o.Observer, locks: held, prepared: lifecycle.NewOnce(),
	}
	h.reload = newReload(h, config.NewLive(c), o)
	if h.observer == nil {
		h.observer = progress.Discard{}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

func (h *Host) open(ctx context.Context) error {
	err := datadir.CheckRestored(h.dir)
	if err != nil {
		return err
	}
	// The catalog comes first: a host that is too old for it changes nothing.
	owner := datadir.NewOwner()
	if h.catalog, err = catalog.Open(ctx, h.dir.Path(datadir.CatalogFile), owner); err != nil {
		return err
	}
	if err := h.catalog.NoteHost(ctx, version); err != nil {
		return err
	}
	if h.store, err = disk.OpenDir(h.config.Host.Blobs); err != nil {
		return err
	}
	if h.locks, err = h.dir.LockBlobs(h.locks); err != nil {
		return err
	}
	if err := h.store.Sweep(); err != nil {
		return fmt.Errorf("sweep the journal's directory: %w", err)
	}
	spill, err := emptySpill(h.dir.Path(datadir.SpillDir))
	if err != nil {
		return err
	}
	// The lock says that no other process is announcing, writing or exporting.
	if err := errors.Join(h.catalog.ExpirePending(ctx), h.catalog.ExpireLeases(ctx)); err != nil {
		return err
	}
	user, err := plugin.LookupUser(h.config.Host.PluginUser)
	if err != nil {
		return err
	}
	h.plugins = plugin.NewManager(plugin.Options{
		Dir: h.config.Host.PluginDir, CacheDir: plugin.UserCacheDir(), RunDir: h.dir.Path(datadir.RunDir), User: user, Logger: h.log,
	})
	h.places = destination.New(h.config, h.plugins, h.log)
	for _, p := range h.config.Projects {
		if err := h.catalog.RegisterProject(ctx, p.ID, p.Name, p.TimeZone.String()); err != nil {
			return err
		}
	}
	return h.compose(ctx, spill, owner)
}

// emptySpill returns an empty directory for folds.
func emptySpill(path string) (*disk.Dir, error) {
	if err := os.RemoveAll(path); err != nil {
		return nil, fmt.Errorf("remove the files that a fold has left: %w", err)
	}
	return disk.OpenDir(path)
}

// compose makes the rooms of the house, over the catalog and the store.
func (h *Host) compose(ctx context.Context, spill *disk.Dir, owner string) (err error) {
	looks := h.scratch != nil
	if h.quarantine, err = quarantine.Open(h.dir.Path(datadir.QuarantineDir), quarantine.Options{
		Ledger: h.catalog.Quarantine(), Now: time.Now, Logger: h.log, ReadOnly: looks,
	}); err != nil {
		return err
	}
	h.projects = project.New(project.Options{
		Dir: h.dir, Store: h.store, Spill: spill, Catalog: h.catalog, Memory: h.config.Host.Memory, Scratch: h.scratch,
		Now: time.Now, Wait: lifecycle.Wait, Log: h.log, Observer: h.observer,
	}, h.config.Projects)
	h.runner = runner.New(runner.Options{
		Projects: h.projects, Destinations: h.places, Catalog: h.catalog, Quarantine: h.quarantine, Owner: owner, Sources: h.config.Files,
		Now: time.Now, Wait: lifecycle.Wait, Ticker: lifecycle.Ticker, Log: h.log, Observer: h.observer, Prepare: h.prepare,
		Wake: func(name string) { h.schedule.Wake(name) },
	}, h.config.Pipelines)
	var tasks []scheduler.Task
	for _, t := range h.runner.Tasks() {
		tasks = append(tasks, t)
	}
	h.schedule = scheduler.New(scheduler.Options{Now: time.Now, Ticker: lifecycle.Ticker}, tasks)
	h.upkeep = upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return kept(h.projects) }, Store: h.store, Catalog: h.catalog, Busy: h.runner.Busy,
		Retention:  func() time.Duration { return h.reload.live.Get().Host.Retention },
		Configured: func() []pipeline.Definition { return definitions(h.runner.All()) }, Now: time.Now, Wait: lifecycle.Wait, Log: h.log,
	})
	h.intake, err = intake.Open(ctx, intake.Options{
		Config: h.reload.live.Get, Dir: h.dir, Projects: h.projects, Catalog: h.catalog, Quarantine: h.quarantine, Grace: h.grace, ReadOnly: looks,
		Now: time.Now, Wait: lifecycle.Wait, Log: h.log, Observer: h.observer,
	})
	return err
}

// kept returns the journals of projects as package upkeep keeps them.
func kept(projects *project.Set) []upkeep.Project {
	var all []upkeep.Project
	for _, p := range projects.All() {
		all = append(all, upkeep.Project{ID: p.Config.ID, Name: p.Config.Name, Reader: p.Journal.Reader()})
	}
	return all
}

// definitions returns what is configured of pipelines.
func definitions(pipelines []*runner.Pipeline) []pipeline.Definition {
	all := make([]pipeline.Definition, 0, len(pipelines))
	for _, p := range pipelines {
		all = append(all, p.Config.Definition())
	}
	return all
}

// prepare starts plugins and opens the journals of all projects, which finishes the
// work that a crash has interrupted. It does so once.
func (h *Host) prepare(ctx context.Context) error {
	return h.prepared.Do(ctx, func() error {
		if err := h.plugins.Start(ctx); err != nil {
			return err
		}
		return h.projects.Open(ctx)
	})
}

// service answers requests of a host that does not serve.
func (h *Host) service() *service.Service { return service.New(partsOf(h), h.Close) }

// partsOf returns the parts of the open data directory.
func partsOf(h *Host) service.Options {
	o := service.Options{
		Version: version, Config: h.reload.live.Get, Dir: h.dir, Store: h.store, Catalog: h.catalog, Records: h.quarantine, Projects: h.projects,
		Intake: h.intake, Runner: h.runner, Upkeep: h.upkeep, Destinations: h.places, Backups: lifecycle.NewGate(),
	}
	if h.plugins != nil {
		o.FindPlugin, o.Restarts = h.plugins.Find, h.plugins.Restarts
	}
	return o
}

// Close gives the data directory back.
func (h *Host) Close() error {
	ctx, cancel := h.grace.Context()
	defer cancel()
	if h.plugins != nil {
		h.plugins.Stop(ctx)
	}
	if h.intake != nil {
		h.intake.Close()
	}
	var err error
	if h.projects != nil {
		err = h.projects.Close()
	}
	if h.quarantine != nil {
		err = errors.Join(err, h.quarantine.Close())
	}
	if h.catalog != nil {
		err = errors.Join(err, h.catalog.Close())
	}
	if h.scratch != nil {
		err = errors.Join(err, h.scratch.Close())
	}
	return errors.Join(err, h.locks.Close())
}

// NewLogger returns a logger that writes lines from the configured level on to
// w, as JSON if json or the configuration says so, otherwise as text. The level may be
// changed.
func NewLogger(c *Config, w io.Writer, json bool) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(c.Host.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	if json || LogsJSON(c) {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}

// LogsJSON reports whether a configuration asks for a log of JSON lines.
func LogsJSON(c *Config) bool { return c.Host.LogJSON }
