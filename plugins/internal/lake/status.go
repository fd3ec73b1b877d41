package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/sdk"
)

// Status reports from the manifest whether a run is committed. A void run is not,
// although a later run is and its own receipt may be stored. A commit that was
// cut between the switch and the manifest counts as committed.
func (l *Lake) Status(ctx context.Context, run sdk.Run) (sdk.Status, error) {
	lay, err := newLayout(l.root, run)
	if err != nil {
		return sdk.Status{}, err
	}
	m, _, err := l.readManifest(ctx, lay)
	if err != nil {
		return sdk.Status{}, err
	}
	if m == nil {
		m = newManifest(run)
	}
	if p := m.Prepared; p != nil && p.Run > m.Run {
		cut, err := l.switched(ctx, lay, p)
		if err != nil {
			return sdk.Status{}, err
		}
		if cut {
			m.commit(p.Run, p.CompleteAsOf, p)
		}
	}
	s := sdk.Status{State: sdk.Absent, Last: m.last(), Fence: m.Fence}
	if m.Run < run.Number || slices.Contains(m.Void, run.Number) {
		return s, nil
	}
	s.State = sdk.Committed
	r, err := l.receipt(ctx, lay, m, run.Number)
	if r != nil {
		s.Receipt, s.Content = r.receipt(), r.Content
	}
	return s, err
}

// receipt returns the receipt of a committed run, or nil if it is not stored.
func (l *Lake) receipt(ctx context.Context, lay layout, m *Manifest, run int64) (*RunReceipt, error) {
	if m.Receipt != nil && m.Receipt.Run == run {
		return m.Receipt, nil
	}
	data, _, err := l.store.Read(ctx, lay.receipt(run), manifestLimit)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the receipt of run %d: %w", run, err)
	}
	r := new(RunReceipt)
	if err := json.Unmarshal(data, r); err != nil || r.Format != receiptFormat || r.Run != run {
		return nil, sdk.Permanent(fmt.Errorf("the receipt %s is damaged", lay.receipt(run)))
	}
	return r, nil
}

// Inventory lists the pipeline's objects, including those of uncommitted runs.
// The number of rows is known for runs whose receipt is stored.
func (l *Lake) Inventory(ctx context.Context, run sdk.Run, yield func(sdk.InventoryItem) error) error {
	lay, err := newLayout(l.root, run)
	if err != nil {
		return err
	}
	m, _, err := l.readManifest(ctx, lay)
	if err != nil {
		return err
	}
	if m == nil {
		m = newManifest(run)
	}
	rows := make(map[int64]map[string]uint64)
	err = l.store.List(ctx, lay.dir, true, func(o Object) error {
		date, number, ok := lay.owned(o.Name)
		if !ok && o.Name != lay.fixed() {
			return nil
		}
		if !ok {
			date, number = "", m.Run
		}
		if _, ok := rows[number]; !ok {
			if rows[number], err = l.rowsOf(ctx, lay, m, number); err != nil {
				return err
			}
		}
		return yield(sdk.InventoryItem{
			Date: date, Run: number, Object: o.Name,
			Rows: rows[number][o.Name], StoredBytes: uint64(o.Size),
		})
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", lay.dir, err)
	}
	return nil
}

// rowsOf returns the rows of a run's objects by name.
func (l *Lake) rowsOf(ctx context.Context, lay layout, m *Manifest, run int64) (map[string]uint64, error) {
	rows := make(map[string]uint64)
	r, err := l.receipt(ctx, lay, m, run)
	if err != nil || r == nil {
		return rows, err
	}
	for _, p := range r.Partitions {
		for _, f := range p.Files {
			rows[f.Name] = f.Rows
		}
	}
	return rows, nil
}
