package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// callSpec names a call and limits its duration.
type callSpec struct {
	name  string
	limit time.Duration
	// fatal: a plugin that does not answer in time is killed, because the call
	// needs no network, or because its work must not continue in the background.
	fatal bool
}

// call makes one call of a process within its limit.
func call[T any](ctx context.Context, p *process, spec callSpec, fn func(context.Context) (T, error)) (T, error) {
	late := &DeadlineError{Plugin: p.name, During: spec.name, After: spec.limit}
	limited, cancel := context.WithCancelCause(noDeadline{ctx})
	defer cancel(nil)
	defer time.AfterFunc(spec.limit, func() { cancel(late) }).Stop()
	v, err := fn(limited)
	if err == nil {
		return v, nil
	}
	var zero T
	if spec.fatal && ctx.Err() == nil && context.Cause(limited) == error(late) {
		p.kill(p.frozen(spec.name, spec.limit))
	}
	return zero, p.explain(ctx, spec.name, err)
}

// noDeadline keeps a context's deadline from gRPC. gRPC would send it to the
// plugin, which may end the call a moment before this side does: our deadline
// would look like the plugin's answer.
type noDeadline struct{ context.Context }

func (noDeadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// explain returns the error of a call without secrets, and tells three causes
// apart: ctx has ended, the process has ended, or the plugin answered with an
// error.
func (p *process) explain(ctx context.Context, during string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	p.mu.Lock()
	killed := p.cause != nil || p.asked
	p.mu.Unlock()
	// A connection is lost a moment before the process is seen to end.
	if lost := errors.Is(err, protocol.ErrLost); lost || killed || !p.alive() {
		if waitFor(p.run.exited, 2*time.Second) {
			return p.death(during, err)
		}
	}
	return p.logs.red.cleanError(err)
}
