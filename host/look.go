package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Look opens the data directory of a configuration for reading, or, when a host
// is serving it, speaks with that host. It makes and changes nothing in the data
// directory, which may be read-only. Of one that does not exist, Status and Plan
// tell what a first run would find; the other calls return a *NoDataDirError.
func Look(ctx context.Context, c *Config) (operation.Views, error) {
	missing := CheckDataDir(c)
	var none *NoDataDirError
	if missing != nil && !errors.As(missing, &none) {
		return nil, missing
	}
	held, r, err := lockOrDial(ctx, c, func() (locks, error) { return lockForLook(c.Host.DataDir) })
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r, nil
	}
	h := newHost(c, Options{}, held)
	h.scratch = &scratch{}
	if err := h.openLook(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &view{h, missing}, nil
}

// openLook opens what a host reads.
func (h *Host) openLook(ctx context.Context) (err error) {
	dataDir := h.config.Host.DataDir
	h.store = disk.OpenReadOnly(h.config.Host.Blobs)
	if h.catalog, err = catalog.Look(ctx, filepath.Join(dataDir, catalogFile), h.scratch.path); err != nil {
		return err
	}
	h.quarantine, err = quarantine.Open(filepath.Join(dataDir, quarantineDir), quarantine.Options{
		Ledger: quarantineLedger{h}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), ReadOnly: true,
	})
	if err != nil {
		return err
	}
	return h.openPulls(ctx)
}

// lockForLook keeps hosts and commands that write away from a data directory. One
// that no host has used yet, or that is read-only, needs no lock.
func lockForLook(dataDir string) (locks, error) {
	f, err := private.OpenFile(filepath.Join(dataDir, lockFile), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into data directory: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		owner, ownerErr := lockOwner(f.Name(), f)
		return nil, errors.Join(&LockedError{DataDir: dataDir, Owner: owner}, ownerErr, f.Close())
	case err != nil: // a file system without locks, such as some that are read-only
		return nil, f.Close()
	}
	return locks{f}, nil
}

// lockOrDial takes a data directory, or connects to the host that serves it. It
// waits for other commands, and for a host that is starting.
func lockOrDial(ctx context.Context, c *Config, take func() (locks, error)) (locks, *remote, error) {
	for began := time.Now(); ; {
		held, err := take()
		var locked *LockedError
		if !errors.As(err, &locked) {
			return held, nil, err
		}
		r := &remote{api.Dial(filepath.Join(c.Host.DataDir, socketFile))}
		pingErr := r.call(ctx, "ping", nil, nil)
		if pingErr == nil {
			return nil, r, nil
		}
		r.client.Close()
		if time.Since(began) > lockPatience {
			return nil, nil, fmt.Errorf("%w, and it does not answer commands: %w", locked, pingErr)
		}
		if err := lifecycle.Wait(ctx, lockPause); err != nil {
			return nil, nil, err
		}
	}
}

// view answers Views from a data directory that no host serves.
type view struct {
	host    *Host
	missing error // a *NoDataDirError; nil: the data directory exists
}

func (v *view) Status(ctx context.Context) (*operation.Status, error) {
	s, err := v.host.Status(ctx)
	if s != nil {
		s.DataDirMissing = v.missing != nil
	}
	return s, err
}

func (v *view) Plan(ctx context.Context) ([]operation.PlannedRun, error) { return v.host.Plan(ctx) }

func (v *view) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	return viewed(v, func() ([]operation.PipelineStatus, error) { return v.host.Pipelines(ctx) })
}

func (v *view) Runs(ctx context.Context, name string) ([]operation.RunStatus, error) {
	return viewed(v, func() ([]operation.RunStatus, error) { return v.host.Runs(ctx, name) })
}

func (v *view) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	return viewed(v, func() ([]operation.SegmentStatus, error) { return v.host.Segments(ctx) })
}

func (v *view) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	return viewed(v, func() (*operation.JournalReport, error) { return v.host.VerifyJournal(ctx) })
}

func (v *view) Quarantine(ctx context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	return viewed(v, func() (*operation.QuarantineList, error) { return v.host.Quarantine(ctx, f) })
}

func (v *view) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	return viewed(v, func() (*operation.IdentityFailures, error) { return v.host.IdentityFailures(ctx, f) })
}

func (v *view) Close() error { return v.host.Close() }

// viewed calls do, unless the data directory does not exist.
func viewed[R any](v *view, do func() (R, error)) (R, error) {
	if v.missing != nil {
		var none R
		return none, v.missing
	}
	return do()
}

// scratch is a directory for temporary files outside of the data directory. It is
// made on first use. Close removes it.
type scratch struct {
	mu  sync.Mutex
	dir string // "": it was not made yet
}

func (s *scratch) path() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "penstock-")
		if err != nil {
			return "", fmt.Errorf("make a temporary directory (TMPDIR names its place): %w", err)
		}
		s.dir = dir
	}
	return s.dir, nil
}

// Close removes the directory.
func (s *scratch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
