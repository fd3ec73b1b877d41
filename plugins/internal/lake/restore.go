package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// A manifest that is gone or damaged is restored from the receipts next to it.
//
//	events   receipts of runs 1, 2, 4 ─► last run 4, totals of their days
//	a set    has no receipt but the manifest's: the manifest gets the fence alone, and
//	         names the set when it was sent again and is shown
//
// It is written on condition that it is still as it was found, so that it replaces
// no newer one. A run that was prepared and given up has a receipt too, and counts as
// committed then: a comparison with the catalog finds it.

// restoreManifest writes the manifest of the attempt's pipeline if it is missing,
// damaged, or says that nothing is committed. Otherwise the repair goes on with it.
func (l *Lake) restoreManifest(ctx context.Context, a *attempt) error {
	m, version, err := l.lostManifest(ctx, a)
	if err != nil {
		return err
	}
	switch {
	case m.Fence > a.run.Fence:
		return fenced(m.Fence, a.run.Fence)
	case m.AdoptedBy != "":
		return adopted(m, a.run)
	case m.Run > 0:
		err = errors.Join(repairable(m, a.run), l.sameFormat(m))
	case a.run.Stream == sdk.Events:
		err = l.recount(ctx, a, m)
	default:
		a.repair.lost = true
	}
	if err != nil {
		return err
	}
	for _, h := range a.target.Former {
		if !slices.Contains(m.Adopted, h.PipelineID) {
			m.Adopted = append(m.Adopted, h.PipelineID)
		}
	}
	m.Fence, m.Attempt = a.run.Fence, a.by.String()
	a.manifest = m
	if a.version, err = l.writeManifest(ctx, a.lay.manifest(), m, version); errors.Is(err, ErrConflict) {
		return sdk.Retryable(err, 0)
	}
	return err
}

// lostManifest reads the manifest, and returns a new one in place of one that is
// missing or damaged.
func (l *Lake) lostManifest(ctx context.Context, a *attempt) (*Manifest, Version, error) {
	name := a.lay.manifest()
	data, version, err := l.store.Read(ctx, name, manifestLimit)
	if errors.Is(err, ErrNotFound) {
		return l.newManifest(a.run), "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read manifest %s: %w", name, err)
	}
	m, err := decodeManifest(name, data)
	if errors.Is(err, errDamaged) {
		return l.newManifest(a.run), version, nil
	}
	if err == nil {
		err = m.check(a.lay)
	}
	return m, version, err
}

// recount commits all runs of events whose receipts are stored to a manifest in
// which nothing is committed. A receipt that is missing or damaged is left out: a
// comparison finds it, and it can be repaired once there is a manifest.
func (l *Lake) recount(ctx context.Context, a *attempt, m *Manifest) error {
	last := a.run.Number
	unfinished := slices.DeleteFunc(m.Unfinished, func(run int64) bool { return run <= last })
	if open := a.run.Repair.OpenRun; open > last {
		unfinished = addRun(unfinished, open)
	}
	m.Unfinished = nil
	numbers, err := l.receiptsUpTo(ctx, a)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(numbers, 8*inspectors) {
		receipts, err := concurrently(chunk, func(run int64) (*RunReceipt, error) {
			r, _, err := l.storedReceipt(ctx, a.lay, m, run)
			return r, err
		})
		if err != nil {
			return err
		}
		for _, r := range receipts {
			if r != nil {
				m.commit(r.Run, r.CompleteAsOf, r)
			}
		}
	}
	if known := m.last(); known.Number == last && known.Content != "" && a.run.Content != "" && known.Content != a.run.Content {
		return sdk.Permanent(fmt.Errorf("run %d was committed with content %s, and not %s: the manifest is not restored", last, known.Content, a.run.Content))
	}
	if m.Run < last {
		m.Run, m.CompleteAsOf, m.Receipt = last, timestamp(a.run.AsOf), nil
	}
	m.Unfinished = unfinished
	return nil
}

// receiptsUpTo lists the receipts of the runs up to the attempt's. It refuses one of
// a later run that the host does not know: another host, or this one before its data
// directory was restored, has written it.
func (l *Lake) receiptsUpTo(ctx context.Context, a *attempt) ([]int64, error) {
	var numbers []int64
	var unknown int64
	err := l.store.List(ctx, a.lay.receipts(), false, func(o Object) error {
		run, ok := a.lay.receiptOf(o.Name)
		switch {
		case !ok:
		case run <= a.run.Number:
			numbers = append(numbers, run)
		case run != a.run.Repair.OpenRun:
			unknown = max(unknown, run)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list receipts in %s: %w", a.lay.receipts(), err)
	}
	if unknown > 0 {
		return nil, sdk.Permanent(fmt.Errorf("%s exists, and the catalog's last committed run is %d: another host, or this one before its data directory was restored, has written it, so that the manifest is not restored",
			a.lay.receipt(unknown), a.run.Number))
	}
	slices.Sort(numbers)
	return numbers, nil
}

// knowSet makes the receipt, without objects, of a set that the manifest has lost.
// Its fence is that of the stored object, if it is an object of the run.
func (l *Lake) knowSet(ctx context.Context, a *attempt) error {
	a.repair.recorded = make(map[string]File)
	a.repair.receipt = &RunReceipt{
		Format: receiptFormat, Version: manifestVersion,
		Run: a.run.Number, Content: a.run.Content, Fence: a.run.Fence, CompleteAsOf: timestamp(a.run.AsOf),
	}
	inner, err := l.readInner(ctx, a.lay)
	if err != nil {
		return err
	}
	if fence, ok := a.lay.fenceOf(inner, a.run.Number, a.run.Content); ok {
		a.repair.receipt.Fence = fence
	}
	return nil
}

// fenceOf returns the fence in an inner name of a run.
func (l layout) fenceOf(inner string, run int64, content string) (fence int64, ok bool) {
	rest, ok := strings.CutPrefix(inner, fmt.Sprintf("%s-%08d-", l.stem, run))
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(strings.TrimSuffix(rest, ".json"), "-")
	fence, err := strconv.ParseInt(digits, 10, 64)
	return fence, err == nil && l.inner(run, fence, content) == inner
}

// isOneObject reports whether the set is one object, and not parts. If no record
// tells, it is one unless there is a part of the run.
func (l *Lake) isOneObject(a *attempt) (bool, error) {
	if !a.repair.lost {
		_, one := a.repair.recorded[a.lay.fixed()]
		return one, nil
	}
	one := true
	err := l.store.List(a.ctx, a.lay.dir, false, func(o Object) error {
		if _, run, part := a.lay.owned(o.Name); part && run == a.run.Number {
			one = false
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("list %s: %w", a.lay.dir, err)
	}
	return one, nil
}

// layoutOf returns the layout of the set of a receipt.
func layoutOf(lay layout, r *RunReceipt) string {
	for _, p := range r.Partitions {
		for _, f := range p.Files {
			if f.Name != lay.fixed() {
				return inParts
			}
		}
	}
	return oneObject
}
