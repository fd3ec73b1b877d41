package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Operate opens the data directory of a configuration for a command, or, when
// a host is serving it, speaks with that host. A data directory that is missing
// is made, unless CheckDataDir is called before.
func Operate(ctx context.Context, c *Config) (Operations, error) {
	return OperateWith(ctx, c, Options{})
}

// OperateWith is Operate with the options of a host, which count unless another host
// serves the data directory.
func OperateWith(ctx context.Context, c *Config, o Options) (Operations, error) {
	held, r, err := lockOrReach(ctx, c, dirOf(c).TryLock)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r, nil
	}
	h, err := openLocked(ctx, c, o, held)
	if err != nil {
		return nil, err
	}
	return h.service(), nil
}

// Serving reports whether a host serves a configuration's data directory.
func Serving(ctx context.Context, c *Config) bool {
	r, err := api.Reach(ctx, dirOf(c).Path(datadir.SocketFile))
	if err != nil {
		return false
	}
	_ = r.Close() // frees a connection
	return true
}

// lockOrReach takes a data directory, or connects to the host that serves it. It
// waits for other commands, and for a host that is starting.
func lockOrReach(ctx context.Context, c *Config, take func() (datadir.Locks, error)) (datadir.Locks, *api.Remote, error) {
	for began := time.Now(); ; {
		held, err := take()
		var locked *LockedError
		if !errors.As(err, &locked) {
			return held, nil, err
		}
		r, unreachable := api.Reach(ctx, dirOf(c).Path(datadir.SocketFile))
		if unreachable == nil {
			return nil, r, nil
		}
		if time.Since(began) > datadir.Patience {
			return nil, nil, fmt.Errorf("%w, and it does not answer commands: %w", locked, unreachable)
		}
		if err := lifecycle.Wait(ctx, datadir.Pause); err != nil {
			return nil, nil, err
		}
	}
}
