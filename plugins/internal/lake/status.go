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
	lay, err := l.layout(run)
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
	if m, err = l.completed(ctx, lay, m); err != nil {
		return sdk.Status{}, err
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

// completed returns the manifest as it is once a commit that was cut between the
// switch and the manifest is completed.
func (l *Lake) completed(ctx context.Context, lay layout, m *Manifest) (*Manifest, error) {
	p := m.Prepared
	if p == nil || p.Run <= m.Run {
		return m, nil
	}
	cut, err := l.switched(ctx, lay, p)
	if cut {
		m.commit(p.Run, p.CompleteAsOf, p)
	}
	return m, err
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
