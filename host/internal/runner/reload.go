package runner

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
)

// errReloaded ends work on a pipeline that a reload has removed or replaced.
var errReloaded = errors.New("the configuration of the pipeline was reloaded: try again")

// retireTime is how long the running attempt of a pipeline may take that a reload has
// removed or replaced. An attempt that is cut is resumed by the pipeline that comes next.
const retireTime = time.Minute

// Replacement is the result of a reload: the iterations to run from now on, and the
// pipelines that end after their running attempts.
type Replacement struct {
	Added []*Iterations
	Gone  []string // names of the pipelines that end

	ending []*Pipeline
}

// Reload replaces the pipelines of a runner. Those whose block is the same are not disturbed. One
// that is gone, or whose block has changed, ends after its running attempt; in the
// second case the new one is run then, and tries a failed run again. Reload waits for no
// attempt.
func Reload(r *Runner, pipelines []*config.Pipeline) *Replacement {
	old := r.set.Load()
	next := newSet(r, old, pipelines)
	r.set.Store(next)
	change := &Replacement{}
	for _, p := range old.all {
		if next.byName[p.Config.Name] != p {
			p.retire()
			change.ending = append(change.ending, p)
			change.Gone = append(change.Gone, p.Config.Name)
		}
	}
	for _, p := range next.all {
		if old.byName[p.Config.Name] != p {
			p.again.Store(true)
			change.Added = append(change.Added, newIterations(p))
		}
	}
	return change
}

// Settle returns when no attempt of a pipeline runs any more that the reload has removed
// or replaced. The error is that of ctx.
func (c *Replacement) Settle(ctx context.Context) error {
	for _, p := range c.ending {
		leave, err := p.active.Enter(ctx)
		if err != nil {
			return err
		}
		leave()
	}
	return nil
}

// untilRetired returns a context that ends with ctx, and retireTime after a pipeline was
// retired. The caller calls end.
func untilRetired(ctx context.Context, p *Pipeline) (attempt context.Context, end func()) {
	attempt, cut := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(p.retired, func() {
		if p.o.Wait(attempt, retireTime) == nil {
			cut(errReloaded)
		}
	})
	return attempt, func() {
		unhook()
		cut(nil)
	}
}
