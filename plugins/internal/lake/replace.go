package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// A set of at most objectLimit bytes is one object of a fixed name. Write
// uploads it unseen; Prepare seals it and then notes the receipt in the
// manifest; Commit switches the object and then says so in the manifest. A
// crash between the two is found by the file name in the object's gzip header,
// which tells run, fence and content.
//
// An attempt that was overtaken cannot switch back, because of the order:
//
//	older:  Seal ─► manifest, on condition ─► Switch, on condition ─► manifest
//	newer:  manifest, with its fence ─► Fence of the object ─► …
//
// Either the older attempt's first write of the manifest comes after the newer
// one's and fails, or its replacement was sealed before the newer one's Fence,
// which ends it.
//
// A larger set is parts named by run. The manifest is the switch.

// writeSet writes the one partition of a set.
func (l *Lake) writeSet(a *attempt, p sdk.Partition, r *batch.Reader) ([]File, error) {
	if p.Index != 0 || p.Date != "" {
		return nil, sdk.Permanent(errors.New("a set that is replaced comes as one partition without a date"))
	}
	if a.manifest.Layout == inParts {
		return l.writeParts(a, "", r)
	}
	if a.pending != nil {
		return nil, sdk.Permanent(errors.New("the set was written before"))
	}
	o, err := l.createSet(a)
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && o.size+int64(len(b.Payload)) > l.objectLimit {
			err = l.outgrow(a)
		}
		if err == nil {
			err = o.add(b, r)
		}
		if err != nil {
			return nil, err
		}
	}
	return a.closeSet(o)
}

// createSet starts a replacement of the fixed object, which the attempt switches
// or aborts.
func (l *Lake) createSet(a *attempt) (*object, error) {
	name := a.lay.fixed()
	u, err := l.store.Replace(a.ctx, name, a.current, a.by)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	a.pending = u
	return l.newObject(name, a.run.Stream, a.inner(), u)
}

func (a *attempt) closeSet(o *object) ([]File, error) {
	if err := o.close(); err != nil {
		return nil, err
	}
	a.changes(o.changed)
	return []File{o.file}, nil
}

// outgrow records in the manifest that the set no longer fits in one object, and
// fails the attempt. The next attempt writes parts: bytes that were uploaded for
// the fixed name cannot be renamed.
func (l *Lake) outgrow(a *attempt) error {
	if l.oneObject {
		return sdk.Permanent(fmt.Errorf("the set is larger than %d bytes as gzip, and this destination stores a set as one object", l.objectLimit))
	}
	next, err := a.manifest.clone()
	if err != nil {
		return err
	}
	next.Layout = inParts
	if a.version, err = l.writeManifest(a.ctx, a.lay.manifest(), next, a.version); err != nil {
		return l.conflict(a.ctx, a, err)
	}
	a.manifest = next
	return sdk.Retryable(fmt.Errorf("the set is larger than the %d bytes of one object; the next attempt writes it in parts", l.objectLimit), 0)
}

// prepareSet seals the replacement and records its receipt in the manifest. A run
// without a partition is the empty set.
func (l *Lake) prepareSet(ctx context.Context, a *attempt) error {
	if a.manifest.Layout == inParts {
		return l.removeLeftovers(ctx, a)
	}
	if a.pending == nil {
		o, err := l.createSet(a)
		if err != nil {
			return err
		}
		files, err := a.closeSet(o)
		if err != nil {
			return err
		}
		a.receipts = append(a.receipts, PartitionReceipt{Files: files})
	}
	if err := a.pending.Seal(ctx); err != nil {
		return l.overtaken(ctx, a.run, fmt.Errorf("seal %s: %w", a.lay.fixed(), err))
	}
	next, err := a.manifest.clone()
	if err != nil {
		return err
	}
	next.Layout, next.Prepared = oneObject, a.runReceipt()
	if a.version, err = l.writeManifest(ctx, a.lay.manifest(), next, a.version); err != nil {
		return l.conflict(ctx, a, err)
	}
	a.manifest = next
	return nil
}

func (l *Lake) conflict(ctx context.Context, a *attempt, err error) error {
	if errors.Is(err, ErrConflict) {
		return l.lost(ctx, a.run, err)
	}
	return err
}

// switchSet switches the fixed object. After a conflict it reads the object: a
// switch of this attempt whose answer was lost counts as done.
func (l *Lake) switchSet(ctx context.Context, a *attempt) error {
	err := a.pending.Switch(ctx)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrAborted) {
		return fmt.Errorf("switch %s: %w", a.lay.fixed(), err)
	}
	inner, readErr := l.readInner(ctx, a.lay)
	if readErr != nil {
		return readErr
	}
	if inner == a.inner() {
		return nil
	}
	return l.lost(ctx, a.run, fmt.Errorf("switch %s: %w", a.lay.fixed(), err))
}

// switched reports whether the fixed object is the set of the prepared receipt
// p: its commit was cut after the switch and before the manifest.
func (l *Lake) switched(ctx context.Context, lay layout, p *RunReceipt) (bool, error) {
	if p == nil {
		return false, nil
	}
	inner, err := l.readInner(ctx, lay)
	return inner == lay.inner(p.Run, p.Fence, p.Content), err
}

// recover runs when a run is opened. It fences the fixed object, completes a
// commit that was cut between the switch and the manifest, and removes files
// that a cut commit left.
func (l *Lake) recover(ctx context.Context, a *attempt) error {
	var err error
	if a.current, err = l.store.Fence(ctx, a.lay.fixed(), a.by); err != nil {
		return fmt.Errorf("fence %s: %w", a.lay.fixed(), err)
	}
	p := a.manifest.Prepared
	cut, err := l.switched(ctx, a.lay, p)
	if err != nil {
		return err
	}
	if cut {
		next, err := a.manifest.clone()
		if err != nil {
			return err
		}
		next.commit(p.Run, p.CompleteAsOf, p)
		if a.run.Number > next.Run {
			next.Unfinished = addRun(nil, a.run.Number)
		}
		if a.version, err = l.writeManifest(ctx, a.lay.manifest(), next, a.version); err != nil {
			return l.conflict(ctx, a, err)
		}
		a.manifest = next
	}
	if a.manifest.Run > 0 {
		l.sweep(ctx, a, []layout{a.lay})
	}
	return l.relayout(a)
}

// relayout returns to the layout of one object when the set has shrunk to half
// of the object limit.
func (l *Lake) relayout(a *attempt) error {
	if a.manifest.Layout != inParts || a.manifest.Run == 0 || a.manifest.Receipt == nil || a.again {
		return nil
	}
	var stored uint64
	for _, f := range a.manifest.Files {
		stored += f.StoredBytes
	}
	if stored > uint64(l.objectLimit)/2 {
		return nil
	}
	next, err := a.manifest.clone()
	if err != nil {
		return err
	}
	next.Layout = oneObject
	a.manifest = next
	return nil
}

// replaced returns the layouts of all pipelines whose sets this attempt's set
// replaces: its own pipeline and all present and former holders of the target.
func (a *attempt) replaced() []layout {
	layouts := []layout{a.lay}
	for _, h := range slices.Concat(a.target.Holders, a.target.Former) {
		if h.PipelineID != a.run.PipelineID {
			layouts = append(layouts, h.layout(a.lay))
		}
	}
	return layouts
}

// sweep deletes the files of the given pipelines that are not in the current
// set. It deletes nothing if a file of the current set is missing. A failure is
// logged; the next Open sweeps again.
func (l *Lake) sweep(ctx context.Context, a *attempt, layouts []layout) {
	current := make([]string, 0, len(a.manifest.Files))
	for _, f := range a.manifest.Files {
		current = append(current, f.Name)
	}
	var stale []string
	there := 0
	err := l.store.List(ctx, a.lay.dir, false, func(o Object) error {
		if slices.Contains(current, o.Name) {
			there++
			return nil
		}
		mine := slices.ContainsFunc(layouts, func(lay layout) bool {
			_, _, part := lay.owned(o.Name)
			return part || lay.isFixed(o.Name)
		})
		if mine {
			stale = append(stale, o.Name)
		}
		return nil
	})
	if err == nil && there < len(current) {
		err = fmt.Errorf("%d files are named by the manifest and %d of them are missing: no other file is removed", len(current), len(current)-there)
	}
	if err == nil && len(stale) > 0 {
		err = l.store.Delete(ctx, stale)
	}
	if err == nil && slices.Contains(stale, a.lay.fixed()) {
		a.current = ""
	}
	if err != nil {
		l.log.Warn("could not remove old files of a replaced set; the next run will retry",
			"directory", a.lay.dir, "files", len(stale), "error", err)
	}
}

// nameWriter inserts a file name in the gzip header that is written through it.
type nameWriter struct {
	w    io.Writer
	name string
	head []byte
	done bool
}

const gzipHeader = 10 // bytes, without optional fields

func (c *nameWriter) Write(p []byte) (int, error) {
	if c.done {
		return c.w.Write(p)
	}
	c.head = append(c.head, p...)
	if len(c.head) < gzipHeader {
		return len(p), nil
	}
	c.done = true
	c.head[3] |= 1 << 3 // FNAME
	out := slices.Concat(c.head[:gzipHeader], []byte(c.name), []byte{0}, c.head[gzipHeader:])
	c.head = nil
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
