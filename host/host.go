package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/progress"
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
	log        *slog.Logger
	observer   progress.Observer
	locks      locks
	scratch    *scratch // of a host that only looks; nil: it writes to the data directory
	catalog    *catalog.Catalog
	store      *disk.Dir
	spill      *disk.Dir // of folds
	quarantine *quarantine.Store
	plugins    *plugin.Manager
	places     *destinations
	owner      string
	serving    bool
	stopBy     time.Time // when a host that serves was to have stopped; zero: it was not told to

	journals journals
	pulls    []*puller // in the order of the configuration

	mu         sync.Mutex
	collectors []*collecting // of a host that serves
	states     map[stateKey]*state
	indexes    map[int64]*identity.Index   // of links, by project
	indexCache *identity.Cache             // of all indexes; nil: none is open
	known      map[int64]*identity.Aliases // of legacy projects
	gates      map[string]lifecycle.Gate   // of steps, by pipeline
	// isRegistered are the names of pipelines that this host has registered, or
	// found registered as they are configured.
	isRegistered map[string]bool
	attempts     map[string]*attempt // failed ones of a host that serves, by pipeline
	folds        lifecycle.Gate      // of all states
}

// Open locks the data directory of a configuration and opens its files.
// Nothing is read from sources, and no plugin runs, before RunOnce or Serve. A
// directory that another process owns is a *LockedError.
func Open(ctx context.Context, c *Config, o Options) (*Host, error) {
	f, err := waitLock(ctx, c.Host.DataDir)
	if err != nil {
		return nil, err
	}
	return openLocked(ctx, c, o, locks{f})
}

// openLocked opens a data directory that is locked; the host keeps the lock.
func openLocked(ctx context.Context, c *Config, o Options, held locks) (*Host, error) {
	h := newHost(c, o, held)
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(explain(c, err), h.Close())
	}
	return h, nil
}

// newHost returns a host that has nothing open but its locks.
func newHost(c *Config, o Options, held locks) *Host {
	h := &Host{
		config: c, log: o.Log, observer: o.Observer, locks: held, owner: newOwner(),
		states: map[stateKey]*state{}, indexes: map[int64]*identity.Index{}, known: map[int64]*identity.Aliases{}, gates: map[string]lifecycle.Gate{}, isRegistered: map[string]bool{}, attempts: map[string]*attempt{}, folds: lifecycle.NewGate(),
	}
	if h.observer == nil {
		h.observer = progress.Discard{}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.journals = journals{openWriter: h.openWriter, openReader: h.openReader, now: time.Now, log: h.log, reopening: h.drainAgain}
	return h
}

func (h *Host) open(ctx context.Context) error {
	dataDir := h.config.Host.DataDir
	var err error
	if h.store, err = disk.OpenDir(h.config.Host.Blobs); err != nil {
		return err
	}
	if h.locks, err = lockBlobs(h.config, h.locks); err != nil {
		return err
	}
	if err := h.store.Sweep(); err != nil {
		return fmt.Errorf("sweep the journal's directory: %w", err)
	}
	spill := filepath.Join(dataDir, spillDir)
	if err := os.RemoveAll(spill); err != nil {
		return fmt.Errorf("remove the files that a fold has left: %w", err)
	}
	if h.spill, err = disk.OpenDir(spill); err != nil {
		return err
	}
	if h.catalog, err = catalog.Open(ctx, filepath.Join(dataDir, catalogFile), h.owner); err != nil {
		return err
	}
	// The lock says that no other process is announcing, writing or exporting.
	if err := errors.Join(h.catalog.ExpirePending(ctx), h.catalog.ExpireLeases(ctx)); err != nil {
		return err
	}
	if h.quarantine, err = quarantine.Open(filepath.Join(dataDir, quarantineDir), quarantine.Options{
		Ledger: quarantineLedger{h}, Now: time.Now, Logger: h.log,
	}); err != nil {
		return err
	}
	user := &pluginUser{}
	if err := user.find(h.config.Host.PluginUser); err != nil {
		return err
	}
	h.plugins = plugin.NewManager(plugin.Options{
		Dir: h.config.Host.PluginDir, CacheDir: cacheDir(), RunDir: filepath.Join(dataDir, runDir), User: user.user, Logger: h.log,
	})
	h.places = newDestinations(h.config, h.plugins, h.log)
	for _, p := range h.config.Projects {
		if err := h.catalog.RegisterProject(ctx, p.ID, p.Name, p.TimeZone.String()); err != nil {
			return err
		}
	}
	return h.openPulls(ctx)
}

// Close gives the data directory back.
func (h *Host) Close() error {
	ctx, cancel := h.stopping()
	defer cancel()
	if h.plugins != nil {
		h.plugins.Stop(ctx)
	}
	for _, p := range h.pulls {
		p.client.Close()
	}
	var err error
	for _, x := range h.indexes {
		err = errors.Join(err, x.Close())
	}
	if h.indexCache != nil {
		h.indexCache.Close()
	}
	err = errors.Join(err, h.journals.close())
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

// stopTimeout is how long a host may take to stop, from the signal to its end:
// less than the ten seconds after which container runtimes kill. stopGrace is
// left for plugins, however long the rest took.
const (
	stopTimeout = 7 * time.Second
	stopGrace   = 2 * time.Second
)

// stopping returns the context of the work that a host does while it stops. All of it has
// one deadline, which begins when Serve is told to stop.
func (h *Host) stopping() (context.Context, context.CancelFunc) {
	now := time.Now()
	deadline := now.Add(stopTimeout)
	if !h.stopBy.IsZero() {
		deadline = h.stopBy
	}
	if least := now.Add(stopGrace); deadline.Before(least) {
		deadline = least
	}
	return context.WithDeadline(context.Background(), deadline)
}

// journal returns the project's journal. It opens it on first use, and again
// after a failure.
func (h *Host) journal(ctx context.Context, p *config.Project) (*projectJournal, error) {
	return h.journals.get(ctx, p)
}

func (h *Host) openWriter(ctx context.Context, p *config.Project) (*journal.Writer, error) {
	if err := h.checkBlobs(ctx, p); err != nil {
		return nil, err
	}
	return journal.Open(ctx, journal.Options{
		Project: p.ID, Zone: p.TimeZone, Store: h.store, Catalog: h.catalog, Now: time.Now, Memory: h.config.Host.Memory,
	})
}

func (h *Host) openReader(p *config.Project) *journal.Reader {
	return journal.NewReader(p.ID, h.store, h.catalog)
}

// newOwner names this process in leases and announcements.
func newOwner() string {
	name, err := os.Hostname()
	if err != nil {
		name = "host"
	}
	var b [4]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), hex.EncodeToString(b[:]))
}

// NewLogger returns a logger that writes lines from the configured level on to
// w, as JSON if json or the configuration says so, otherwise as text.
func NewLogger(c *Config, w io.Writer, json bool) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(c.Host.LogLevel, "info"))); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if json || LogsJSON(c) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// LogsJSON reports whether a configuration asks for a log of JSON lines.
func LogsJSON(c *Config) bool { return c.Host.LogFormat == "json" }
