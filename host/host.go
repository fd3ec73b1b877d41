package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Options say where a host reports its work. The zero value reports nothing.
type Options struct {
	Observer progress.Observer
	Log      *slog.Logger
}

// Host owns a data directory. Close gives it back.
type Host struct {
	config     *Config
	dir        datadir.Dir
	grace      *lifecycle.Grace // of the work that a host does while it stops
	log        *slog.Logger
	observer   progress.Observer
	locks      datadir.Locks
	scratch    *datadir.Scratch // of a host that only looks; nil: it writes to the data directory
	catalog    *catalog.Catalog
	store      *disk.Dir
	spill      *disk.Dir // of folds; nil: nothing is folded
	quarantine *quarantine.Store
	plugins    *plugin.Manager
	places     *destination.Set
	owner      string
	serving    bool

	projects *project.Set
	pulls    []*puller // in the order of the configuration

	mu         sync.Mutex
	collectors []*collecting             // of a host that serves
	gates      map[string]lifecycle.Gate // of steps, by pipeline
	// isRegistered are the names of pipelines that this host has registered, or
	// found registered as they are configured.
	isRegistered map[string]bool
	attempts     map[string]*attempt // failed ones of a host that serves, by pipeline
}

// Open locks the data directory of a configuration and opens its files.
// Nothing is read from sources, and no plugin runs, before RunOnce or Serve. A
// directory that another process owns is a *datadir.LockedError.
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
		config: c, dir: dirOf(c), grace: lifecycle.NewGrace(lifecycle.StopTime, lifecycle.StopLeast, time.Now), log: o.Log, observer: o.Observer, locks: held, owner: datadir.NewOwner(),
		gates: map[string]lifecycle.Gate{}, isRegistered: map[string]bool{}, attempts: map[string]*attempt{},
	}
	if h.observer == nil {
		h.observer = progress.Discard{}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

func (h *Host) open(ctx context.Context) error {
	var err error
	if h.store, err = disk.OpenDir(h.config.Host.Blobs); err != nil {
		return err
	}
	if h.locks, err = h.dir.LockBlobs(h.locks); err != nil {
		return err
	}
	if err := h.store.Sweep(); err != nil {
		return fmt.Errorf("sweep the journal's directory: %w", err)
	}
	spill := h.dir.Path(datadir.SpillDir)
	if err := os.RemoveAll(spill); err != nil {
		return fmt.Errorf("remove the files that a fold has left: %w", err)
	}
	if h.spill, err = disk.OpenDir(spill); err != nil {
		return err
	}
	if h.catalog, err = catalog.Open(ctx, h.dir.Path(datadir.CatalogFile), h.owner); err != nil {
		return err
	}
	// The lock says that no other process is announcing, writing or exporting.
	if err := errors.Join(h.catalog.ExpirePending(ctx), h.catalog.ExpireLeases(ctx)); err != nil {
		return err
	}
	if h.quarantine, err = quarantine.Open(h.dir.Path(datadir.QuarantineDir), quarantine.Options{
		Ledger: quarantineLedger{h}, Now: time.Now, Logger: h.log,
	}); err != nil {
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
	h.openProjects()
	for _, p := range h.config.Projects {
		if err := h.catalog.RegisterProject(ctx, p.ID, p.Name, p.TimeZone.String()); err != nil {
			return err
		}
	}
	return h.openPulls(ctx)
}

// openProjects makes the projects, which are opened when they are used.
func (h *Host) openProjects() {
	h.projects = project.New(project.Options{
		Dir: h.dir, Store: h.store, Spill: h.spill, Catalog: h.catalog, Memory: h.config.Host.Memory, Scratch: h.scratch,
		Now: time.Now, Log: h.log, Observer: h.observer,
	}, h.config.Projects)
}

// Close gives the data directory back.
func (h *Host) Close() error {
	ctx, cancel := h.grace.Context()
	defer cancel()
	if h.plugins != nil {
		h.plugins.Stop(ctx)
	}
	for _, p := range h.pulls {
		p.client.Close()
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
// w, as JSON if json or the configuration says so, otherwise as text.
func NewLogger(c *Config, w io.Writer, json bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Host.LogLevel}
	if json || LogsJSON(c) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// LogsJSON reports whether a configuration asks for a log of JSON lines.
func LogsJSON(c *Config) bool { return c.Host.LogJSON }
