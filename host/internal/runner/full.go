package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
)

// Runs are full when the rows that are sealed do not fit in them. While sources are still
// read, full runs can be exported: they would hold the same rows if everything was read
// first. Of a pipeline that allows 1 GiB in a run, a run of fullBytes counts as full as
// well, so that exporting begins early; but only if its days have fullPerDay each, on
// average. A run of 256 MiB over 400 days would leave 400 small files.
const (
	fullBytes  = 256 << 20 // as stored
	fullPerDay = 8 << 20   // bytes as stored
)

// fullRuns remembers at which state of the journal a pipeline had no full run.
type fullRuns struct{ none project.Mark }

// fullEvery is how often ExportFull looks whether more was sealed.
const fullEvery = 250 * time.Millisecond

// ExportFull exports full runs of pipelines, one after the other, in a goroutine of its
// own, while sources are read. A pipeline whose run fails is left to CatchUp. stop waits
// for the run that is under way, and returns when nothing runs any more; ctx cuts it off.
func ExportFull(ctx context.Context, r *Runner, all []*Once) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick, stopTick := r.o.Ticker(fullEvery)
		defer stopTick()
		for {
			select {
			case <-quit:
				return
			case <-ctx.Done():
				return
			case <-tick:
			}
			all = exportFull(ctx, all, quit)
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// exportFull exports the runs that are full now, unless quit is closed. It returns the
// pipelines that may have more.
func exportFull(ctx context.Context, all []*Once, quit <-chan struct{}) []*Once {
	var next []*Once
	for _, o := range all {
		more := true
		for more {
			select {
			case <-quit:
				return nil
			default:
			}
			var err error
			if more, err = o.exportFull(ctx); err != nil {
				break
			}
			if !more {
				next = append(next, o)
			}
		}
	}
	return next
}

// exportFull exports one full run. more is false if there is none. After an error the
// pipeline is left to CatchUp, which tries again what may succeed.
func (o *Once) exportFull(ctx context.Context) (more bool, err error) {
	p := o.pipeline
	mark := p.project.Journal.Mark()
	if o.err != nil || pipeline.Replaced(p.Config.Stream) || mark == (project.Mark{}) || mark.Same(o.full.none) {
		return false, o.err
	}
	receipt, err := carryOut(ctx, p, func(r *resolved) (*pipeline.Run, error) { return r.fullRun(ctx) })
	switch {
	case err != nil:
		switch {
		case ctx.Err() != nil || errors.Is(err, pipeline.ErrPaused):
		case retryable(err):
			p.o.Observer.Report(progress.Report{Stage: "export", Name: p.Config.Name, Text: fmt.Sprintf("%v; will retry when all sources have been read", err)})
		default:
			o.err = err
		}
		return false, err
	case receipt == nil:
		o.full.none = mark
		return false, nil
	}
	addReceipt(o.done, receipt)
	return true, nil
}

// fullRun returns the open run, or a new one that is full; nil: there is none.
func (r *resolved) fullRun(ctx context.Context) (*pipeline.Run, error) {
	if open, err := r.open(ctx); open != nil || err != nil {
		return open, err
	}
	limits := r.limits()
	early := limits
	early.Bytes = min(early.Bytes, fullBytes)
	extents, cursor, all, err := next(ctx, r.o.Catalog, r.stored, early)
	if all || err != nil {
		return nil, err
	}
	if early.Bytes < limits.Bytes && !isDense(extents, limits.Zone) {
		if extents, cursor, all, err = next(ctx, r.o.Catalog, r.stored, limits); all || err != nil {
			return nil, err
		}
	}
	if len(extents) == 0 {
		return nil, nil // CatchUp moves the cursor
	}
	return r.plan(ctx, &pipeline.Run{Extents: extents, Next: cursor}, limits.Zone)
}

// isDense reports whether the days of extents have fullPerDay each, on average.
func isDense(extents []pipeline.Extent, zone bool) bool {
	days := map[journal.Day]struct{}{}
	var bytes int64
	for i := range extents {
		day := extents[i].UTCDate
		if zone {
			day = extents[i].ZoneDate
		}
		days[day] = struct{}{}
		bytes += extents[i].Bytes
	}
	return bytes >= int64(len(days))*fullPerDay
}
