package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Every is how often a serving host makes a pass.
const Every = time.Hour

// Limits of a pass, which may run during exports.
const (
	rate     = 64 << 20        // bytes that are read and written in a second
	calm     = 5 * time.Second // how long one rewrite waits for runs to end, at most, times patience
	patience = 12
	writing  = time.Hour // how long one rewrite may take before a sweep gives it up
)

// Project is a project whose journal is kept.
type Project struct {
	ID     int64
	Name   string
	Reader *journal.Reader
}

// Options are the journals and the parts that they need. All are required but Busy,
// Configured and Names.
type Options struct {
	Projects  func() []Project
	Store     disk.Store
	Catalog   *catalog.Catalog
	Retention func() time.Duration // rows that are older are removed
	Busy      func() bool          // reports whether a run sends rows now; nil: none does
	// Configured returns the pipelines of the configuration, which keep the rows of their
	// dates also before they are registered; nil: there are none.
	Configured func() []pipeline.Definition
	Now        func() time.Time
	Wait       func(context.Context, time.Duration) error
	Log        *slog.Logger
	Names      func() string // of files, all different; nil: random
}

// Upkeep makes passes over journals. It may be used concurrently: one pass runs at a
// time.
type Upkeep struct {
	o    Options
	gate lifecycle.Gate // held by a pass
	end  time.Time      // after which the pass begins no further rewrite; zero: none

	mu   sync.Mutex
	last *operation.Upkeep // the latest pass; nil: none yet
}

// New returns an Upkeep that has made no pass.
func New(o Options) *Upkeep {
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.Configured == nil {
		o.Configured = func() []pipeline.Definition { return nil }
	}
	return &Upkeep{o: o, gate: lifecycle.NewGate()}
}

// Serve makes a pass from time to time until ctx is done. A pass that fails is logged,
// and the next one goes on.
func (u *Upkeep) Serve(ctx context.Context) error {
	for u.o.Wait(ctx, Every) == nil {
		report, err := u.Pass(ctx, 0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			u.o.Log.Error("could not tidy the journal; will retry", "error", err, "in", Every)
		case report.Rewritten+report.Swept > 0:
			u.o.Log.Info("tidied the journal", "rows_removed", report.RowsRemoved, "files_before", report.Rewritten, "files_after", report.Written,
				"bytes_freed", report.BytesFreed, "orphans_removed", report.Swept)
		}
	}
	return nil
}

// Pass removes, rewrites and sweeps everything that is due now. A project that fails
// does not keep the others from their work. After longest, unless it is 0, no
// further rewrite is begun: the next pass goes on.
func (u *Upkeep) Pass(ctx context.Context, longest time.Duration) (operation.Upkeep, error) {
	leave, err := u.gate.Enter(ctx)
	if err != nil {
		return operation.Upkeep{}, err
	}
	defer leave()
	c, err := u.count(ctx)
	if err != nil {
		return operation.Upkeep{}, err
	}
	report := operation.Upkeep{StartedAt: u.o.Now().UTC()}
	if u.end = (time.Time{}); longest > 0 {
		u.end = report.StartedAt.Add(longest)
	}
	c.note(&report, u.o.Log)
	var failed error
	for _, p := range u.o.Projects() {
		if err := u.tidy(ctx, p, c.cutoff(u.o.Retention()), &report); err != nil {
			failed = errors.Join(failed, fmt.Errorf("tidy the journal of project %s: %w", p.Name, err))
		}
	}
	report.FinishedAt = u.o.Now().UTC()
	if failed != nil {
		report.Error = failed.Error()
	}
	if err := u.o.Catalog.SetUpkeep(context.WithoutCancel(ctx), report); err != nil {
		failed = errors.Join(failed, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = &report
	return report, failed
}

// Last returns the report of the latest pass, also of an earlier host; nil: there was
// none.
func (u *Upkeep) Last(ctx context.Context) (*operation.Upkeep, error) {
	u.mu.Lock()
	last := u.last
	u.mu.Unlock()
	if last != nil {
		return last, nil
	}
	var stored operation.Upkeep
	found, err := u.o.Catalog.Upkeep(ctx, &stored)
	if err != nil || !found {
		return nil, err
	}
	return &stored, nil
}

// tidy makes a pass over one journal. cutoff is the first day that retention keeps.
func (u *Upkeep) tidy(ctx context.Context, p Project, cutoff journal.Day, report *operation.Upkeep) error {
	if err := journal.Compare(ctx, u.o.Catalog, u.o.Store, p.ID); err != nil {
		return err
	}
	if err := journal.Record(ctx, u.o.Catalog, u.o.Store, p.ID); err != nil {
		return err
	}
	w := &journal.Rewriter{Project: p.ID, Store: u.o.Store, Catalog: u.o.Catalog, Reader: p.Reader, Time: writing, Names: u.o.Names}
	failed := u.expire(ctx, w, cutoff, report)
	if failed == nil || unreadable(failed) {
		failed = errors.Join(failed, u.compact(ctx, w, report))
	}
	if failed != nil && !unreadable(failed) {
		return failed
	}
	swept, err := journal.Sweep(ctx, u.o.Catalog, u.o.Store, p.ID)
	report.Swept += swept.Blobs + swept.Records
	return errors.Join(failed, err)
}

// unreadable reports whether a rewrite failed because a file is damaged or missing:
// others can be rewritten.
func unreadable(err error) bool {
	return errors.Is(err, segment.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

// over reports whether the pass has taken its time.
func (u *Upkeep) over() bool { return !u.end.IsZero() && u.o.Now().After(u.end) }

// holdings returns the pipelines that may keep old rows of a project.
func (u *Upkeep) holdings(ctx context.Context, project int64) ([]catalog.Holding, error) {
	return u.o.Catalog.Holdings(ctx, project, u.o.Configured())
}

// expire removes rows that are older than the retention and that no pipeline needs. Of
// files that cannot be read it returns the errors, and goes on.
func (u *Upkeep) expire(ctx context.Context, w *journal.Rewriter, cutoff journal.Day, report *operation.Upkeep) error {
	var failed error
	for after := int64(0); ; {
		e := &expiry{cutoff: cutoff}
		var err error
		if e.holdings, err = u.holdings(ctx, w.Project); err != nil {
			return errors.Join(failed, err)
		}
		group, err := find(ctx, u.o.Catalog, w.Project, after, e)
		if err != nil || group == nil || u.over() {
			return errors.Join(failed, err)
		}
		after = group[len(group)-1].To
		err = u.rewrite(ctx, w, group, e.drops, report)
		if unreadable(err) && len(group) > 1 {
			err = expireEach(ctx, u, w, group, e, report)
		}
		switch {
		case errors.Is(err, journal.ErrHeld): // the next pass looks again
		case unreadable(err):
			failed = errors.Join(failed, err)
		case err != nil:
			return errors.Join(failed, err)
		}
	}
}

// expireEach is expire for files of which one cannot be read.
func expireEach(ctx context.Context, u *Upkeep, w *journal.Rewriter, group []journal.File, e *expiry, report *operation.Upkeep) (failed error) {
	for i := range group {
		err := u.rewrite(ctx, w, group[i:i+1], e.drops, report)
		if err != nil && !errors.Is(err, journal.ErrHeld) {
			failed = errors.Join(failed, err)
		}
		if err != nil && !errors.Is(err, journal.ErrHeld) && !unreadable(err) {
			return failed
		}
	}
	return failed
}

// compact brings small files together. Of files that cannot be read it returns the
// errors, and goes on.
func (u *Upkeep) compact(ctx context.Context, w *journal.Rewriter, report *operation.Upkeep) error {
	keep := func(journal.Segment, int, journal.Extent) bool { return false }
	var failed error
	for after := int64(0); ; {
		group, err := find(ctx, u.o.Catalog, w.Project, after, &smallFiles{before: u.o.Now().Add(-settled)})
		if err != nil || group == nil || u.over() {
			return errors.Join(failed, err)
		}
		after = group[0].From - 1 // the new file may join others
		switch err := u.rewrite(ctx, w, group, keep, report); {
		case unreadable(err):
			failed = errors.Join(failed, err)
			after = group[len(group)-1].To
		case err != nil:
			return errors.Join(failed, err)
		}
	}
}

// rewrite rewrites files, once no run sends rows or after a while, and waits until the
// bytes are within the rate.
func (u *Upkeep) rewrite(ctx context.Context, w *journal.Rewriter, group []journal.File, drop func(journal.Segment, int, journal.Extent) bool, report *operation.Upkeep) error {
	for n := 0; n < patience && u.o.Busy(); n++ {
		if err := u.o.Wait(ctx, calm); err != nil {
			return err
		}
	}
	done, err := w.Rewrite(ctx, group, drop)
	report.Rewritten += done.Files
	report.RowsRemoved += done.Rows
	report.BytesFreed += done.Freed
	if done.Files > 0 {
		report.Written++
	}
	if err != nil {
		return err
	}
	moved := done.Freed + 2*done.Written // bytes read, and bytes written
	return u.o.Wait(ctx, time.Duration(float64(moved)/rate*float64(time.Second)))
}
