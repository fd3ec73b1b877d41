package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/sdk"
)

// Prepare waits until all objects are durable, removes the objects that earlier
// attempts left, and stores the run's receipt.
func (l *Lake) Prepare(ctx context.Context, run sdk.Run, _ sdk.Receipt) error {
	a, err := l.attempt(run)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	if err := a.tasks.wait(); err != nil {
		return l.overtaken(ctx, run, err)
	}
	if a.repair != nil {
		return l.prepareRepair(ctx, a)
	}
	if a.manifest.Run >= run.Number {
		return nil
	}
	if run.Mode == sdk.Replace {
		return l.prepareSet(ctx, a)
	}
	if err := l.removeLeftovers(ctx, a); err != nil {
		return err
	}
	data, err := encodeJSON(a.runReceipt())
	if err != nil {
		return err
	}
	return put(ctx, l.store, a.lay.receipt(run.Number), data, a.by)
}

// voidSwept is the number of runs after a void run that look for its objects. A
// zombie may finish an object after the first of these runs has removed the
// others.
const voidSwept = 8

// removeLeftovers deletes the objects of unfinished and void runs that this
// run's receipt does not name. The first attempt after a commit has none to look
// for and skips the listing.
func (l *Lake) removeLeftovers(ctx context.Context, a *attempt) error {
	stale := slices.DeleteFunc(slices.Clone(a.manifest.Unfinished), func(run int64) bool {
		return run == a.run.Number && !a.again
	})
	for _, void := range a.manifest.Void {
		if void >= a.run.Number-voidSwept {
			stale = append(stale, void)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	keep := make(map[string]bool)
	for _, p := range a.receipts {
		for _, f := range p.Files {
			keep[f.Name] = true
		}
	}
	return l.remove(ctx, a.lay, func(name string, run int64) bool {
		return slices.Contains(stale, run) && !keep[name]
	})
}

// remove lists the pipeline's parts and deletes those for which match returns
// true.
func (l *Lake) remove(ctx context.Context, lay layout, match func(name string, run int64) bool) error {
	var names []string
	err := l.store.List(ctx, lay.dir, true, func(o Object) error {
		if _, run, ok := lay.owned(o.Name); ok && match(o.Name, run) {
			names = append(names, o.Name)
		}
		return nil
	})
	if err == nil && len(names) > 0 {
		err = l.store.Delete(ctx, names)
	}
	if err != nil {
		return fmt.Errorf("remove left-over objects in %s: %w", lay.dir, err)
	}
	return nil
}

// Commit switches a replaced set and writes the manifest that names run as the
// last committed one, on condition that the manifest is unchanged since Open or
// Prepare wrote it. Committing a run that is already committed does nothing.
func (l *Lake) Commit(ctx context.Context, run sdk.Run, _ sdk.Receipt) error {
	a, err := l.attempt(run)
	if err != nil && run.Repair != nil {
		return err
	}
	if err != nil {
		return l.committedBefore(ctx, run, err)
	}
	if a.repair != nil {
		return l.commitRepair(ctx, a)
	}
	if done, err := a.manifest.last().Holds(run); done || err != nil {
		return errors.Join(err, l.end(ctx, a))
	}
	if a.pending != nil {
		if err := l.switchSet(ctx, a); err != nil {
			return err
		}
	}
	next, err := a.manifest.clone()
	if err != nil {
		return err
	}
	next.commit(run.Number, timestamp(run.AsOf), a.runReceipt())
	version, err := l.writeManifest(ctx, a.lay.manifest(), next, a.version)
	if errors.Is(err, ErrConflict) {
		return l.lost(ctx, run, err)
	}
	if err != nil {
		return err
	}
	a.manifest, a.version = next, version
	if run.Mode == sdk.Replace {
		l.sweep(ctx, a, a.replaced())
	}
	return l.end(ctx, a)
}

func (l *Lake) committedBefore(ctx context.Context, run sdk.Run, notOpen error) error {
	lay, err := l.layout(run)
	if err != nil {
		return err
	}
	m, _, err := l.readManifest(ctx, lay)
	if err != nil {
		return err
	}
	if m == nil {
		return notOpen
	}
	done, err := m.last().Holds(run)
	if err == nil && !done {
		err = notOpen
	}
	return err
}

// overtaken classifies the error of an upload that another attempt has ended, by
// the manifest of that attempt.
func (l *Lake) overtaken(ctx context.Context, run sdk.Run, err error) error {
	if errors.Is(err, ErrAborted) {
		return l.lost(ctx, run, err)
	}
	return err
}

// lost reads the manifest to classify a conditional write that failed: a newer
// fence, an adoption, or a conflict that another attempt can resolve.
func (l *Lake) lost(ctx context.Context, run sdk.Run, conflict error) error {
	lay, err := l.layout(run)
	if err != nil {
		return err
	}
	m, _, err := l.readManifest(ctx, lay)
	switch {
	case err != nil:
		return err
	case m == nil:
		return sdk.Permanent(fmt.Errorf("%w: the manifest was deleted", conflict))
	case m.AdoptedBy != "":
		return adopted(m, run)
	case m.Fence > run.Fence:
		return fenced(m.Fence, run.Fence)
	}
	if _, err := m.last().Holds(run); err != nil {
		return err
	}
	return sdk.Retryable(conflict, 0)
}

// Abort ends the attempt. With discard it removes the run's objects, unless
// the run is committed or another attempt has taken over.
func (l *Lake) Abort(ctx context.Context, run sdk.Run, discard bool) error {
	if a, err := l.attempt(run); err == nil {
		if err := l.end(ctx, a); err != nil {
			return err
		}
	}
	if !discard {
		return nil
	}
	lay, err := l.layout(run)
	if err != nil {
		return err
	}
	m, _, err := l.readManifest(ctx, lay)
	if err != nil || m == nil || m.Run >= run.Number || m.Fence > run.Fence {
		return err
	}
	if err := l.remove(ctx, lay, func(_ string, of int64) bool { return of == run.Number }); err != nil {
		return err
	}
	if err := l.store.Delete(ctx, []string{lay.receipt(run.Number)}); err != nil {
		return fmt.Errorf("remove the receipt of run %d: %w", run.Number, err)
	}
	_, _, err = l.update(ctx, lay, run, func(m *Manifest) error {
		m.Unfinished = slices.DeleteFunc(m.Unfinished, func(of int64) bool { return of == run.Number })
		m.Void = addRun(m.Void, run.Number)
		return nil
	})
	return err
}
