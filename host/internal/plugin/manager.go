package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// Options say where plugins come from and how they are run. A zero field is the
// default, which follows its description.
type Options struct {
	// Dir is the plugin directory.
	Dir string
	// CacheDir keeps descriptions by checksum, so that a plugin need not be run
	// again to be described; empty: no description is kept. It is made when it is
	// first needed.
	CacheDir string
	// RunDir holds the private directories of plugin processes, their temporary
	// files included; the system's temporary directory. That is also used when
	// RunDir's name is too long for sockets (more than about 60 bytes).
	RunDir string
	// User is the user that plugins run as; nil: the host's. The private directories
	// are then in the system's temporary directory, which that user can reach.
	User *User
	// Environ is the host's environment, of which plugins see a part: see
	// pluginEnv. os.Environ().
	Environ  []string
	Logger   *slog.Logger // nothing is logged
	Clock    Clock        // the system's
	Timeouts Timeouts
	Restart  Restart
}

func (o Options) withDefaults() Options {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Timeouts = o.Timeouts.withDefaults()
	o.Restart = o.Restart.withDefaults()
	return o
}

// Manager starts plugins and keeps them. It may be used concurrently.
type Manager struct {
	opts  Options
	dir   *Dir
	cache cache

	mu        sync.Mutex
	stopped   bool
	alive     map[*Destination]struct{}       // those that may have a process
	described map[string]protocol.Description // by checksum of the binary
	restarts  map[string]int64                // by the name of a destination
}

// NewManager makes a manager; nothing is read or started yet.
func NewManager(opts Options) *Manager {
	m := &Manager{opts: opts.withDefaults(), cache: cache{dir: opts.CacheDir}, alive: map[*Destination]struct{}{}, described: map[string]protocol.Description{}, restarts: map[string]int64{}}
	m.dir = NewDir(opts.Dir, m.probe)
	return m
}

// Dir returns the plugin directory, for the commands that list, install and trust.
// It runs a binary once before it pins it.
func (m *Manager) Dir() *Dir { return m.dir }

// Start sweeps the processes and private directories that dead hosts have left. A
// host calls it once; a command that only describes plugins need not.
func (m *Manager) Start(context.Context) error {
	n, err := Sweep(m.opts.RunDir)
	if m.opts.User != nil {
		var more int
		var sweepErr error
		more, sweepErr = Sweep("")
		n, err = n+more, errors.Join(err, sweepErr)
	}
	if n > 0 {
		m.opts.Logger.Info("removed the private directories that plugins of a dead host left behind", "count", n)
	}
	return err
}

// Stop drains and ends every plugin and returns when none is left. ctx shortens
// the draining. It may be called again; after it nothing starts any more.
func (m *Manager) Stop(ctx context.Context) {
	m.mu.Lock()
	m.stopped = true
	all := make([]*Destination, 0, len(m.alive))
	for d := range m.alive {
		all = append(all, d)
	}
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Go(func() { d.Stop(ctx) })
	}
	wg.Wait()
}

// Describe returns the description of the pinned plugin of a type: from the cache
// when it is there, else by running the plugin for a moment. The binary is verified
// in either case.
func (m *Manager) Describe(ctx context.Context, typ string) (protocol.Description, error) {
	b, err := m.dir.Open(typ)
	if err != nil {
		return protocol.Description{}, err
	}
	defer b.Close()
	return m.description(ctx, b)
}

// Restarts counts, by the name of a destination ("s3.lake"), the starts of its plugin
// after the process had ended by itself.
func (m *Manager) Restarts() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.restarts)
}

// restarted counts n further starts of a destination's plugin.
func (m *Manager) restarted(name string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restarts[name] += n
}

// Find verifies the pinned plugin of a type, without running it.
func (m *Manager) Find(typ string) error {
	b, err := m.dir.Open(typ)
	if err != nil {
		return err
	}
	return b.Close()
}

// description returns a binary's description: from memory or the cache, else by
// running it for a moment, without the environment that it may declare.
func (m *Manager) description(ctx context.Context, b *Binary) (protocol.Description, error) {
	m.mu.Lock()
	d, known := m.described[b.SHA256]
	m.mu.Unlock()
	if known {
		return d, nil
	}
	d, err := m.cache.get(b.SHA256)
	if err != nil {
		d, _, err = m.ask(ctx, b)
	}
	if err != nil {
		return protocol.Description{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.described[b.SHA256] = d
	return d, nil
}

// Described is Describe without running or reading the binary: ErrNotDescribed
// when no binary with the pinned checksum was described before.
func (m *Manager) Described(typ string) (protocol.Description, error) {
	pin, ok, err := m.dir.Pin(typ)
	if err != nil {
		return protocol.Description{}, err
	}
	if !ok {
		return protocol.Description{}, fmt.Errorf("plugin %s: %w: it is not pinned in %s", typ, ErrNotDescribed, LockFile)
	}
	d, err := m.cache.get(pin.SHA256)
	if err != nil {
		return protocol.Description{}, fmt.Errorf("plugin %s: %w", typ, errors.Join(ErrNotDescribed, err))
	}
	return d, nil
}

// probe is the Prober of the directory.
func (m *Manager) probe(ctx context.Context, b *Binary) (string, []int, error) {
	d, version, err := m.ask(ctx, b)
	if err != nil {
		return "", nil, err
	}
	return d.Version, []int{version}, nil
}

// ask runs a binary to describe itself, and keeps the description.
func (m *Manager) ask(ctx context.Context, b *Binary) (protocol.Description, int, error) {
	p, err := startProcess(ctx, m.launch(b.Type(), b, nil, &redactor{}))
	if err != nil {
		return protocol.Description{}, 0, err
	}
	defer p.stop(ctx)
	d, err := m.describe(ctx, p, b)
	return d, p.version, err
}

// describe asks a process for its description, and keeps it.
func (m *Manager) describe(ctx context.Context, p *process, b *Binary) (protocol.Description, error) {
	d, err := call(ctx, p, callSpec{"describe", m.opts.Timeouts.Describe, true}, p.rpc.Describe)
	if err != nil {
		return protocol.Description{}, err
	}
	if d.Name != b.Type() {
		return protocol.Description{}, &StartError{
			Plugin: p.name, Reason: fmt.Sprintf("it is the plugin of type %q: its file should be named %s%s", d.Name, Prefix, d.Name),
			Final: true,
		}
	}
	if err := m.cache.put(b.SHA256, d); err != nil {
		m.opts.Logger.Warn("could not cache the description of a plugin; it will be asked again", "plugin", b.Type(), "error", err)
	}
	return d, nil
}

// launch returns the parameters for starting a binary. declared are the environment variables of
// its description.
func (m *Manager) launch(name string, b *Binary, declared []string, red *redactor) launch {
	base := runBase(m.opts.RunDir)
	if m.opts.User != nil {
		base = os.TempDir()
	}
	return launch{
		name: name, user: m.opts.User, binary: b, base: base, env: m.opts.Environ, declared: declared,
		logger: m.opts.Logger.With("plugin", name), red: red, now: m.opts.Clock.Now,
		timeouts: m.opts.Timeouts,
	}
}
