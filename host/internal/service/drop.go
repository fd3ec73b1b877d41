package service

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// DropQuarantine implements Operations: records leave the quarantine for good.
// Without an id, records beyond the cap, which are only counted, are dropped with
// the others. With filter.Missing, lost records are forgotten instead.
func (h records) DropQuarantine(ctx context.Context, f quarantine.Filter) (*operation.DropReport, error) {
	if f.ID != "" {
		if _, err := h.Records.Get(f.ID); err != nil {
			return nil, err
		}
	}
	if f.Source != "" && !f.Missing {
		if err := intake.Known(h.Intake, f.Source); err != nil {
			return nil, err
		}
	}
	dropped := map[string]map[string]quarantine.Count{}
	add := func(source, reason string, n quarantine.Count) {
		if dropped[source] == nil {
			dropped[source] = map[string]quarantine.Count{}
		}
		dropped[source][reason] = dropped[source][reason].Plus(n)
	}
	if !f.Missing {
		if err := h.dropEntries(ctx, f, add); err != nil {
			return nil, err
		}
	}
	if f.ID == "" {
		picked := func(source, reason string) bool {
			return f.Matches(quarantine.Entry{Source: source, Reason: reason})
		}
		forget := h.Records.DropCounted
		if f.Missing {
			forget = h.Records.DropMissing
		}
		if err := forget(picked, add); err != nil {
			return nil, err
		}
	}
	report := &operation.DropReport{Counts: quarantineCounts(dropped, func(string, string) bool { return true })}
	for _, n := range report.Counts {
		report.Records += n.Count
	}
	return report, nil
}

// dropRecords is how many records are removed at a time.
const dropRecords = 20_000

// dropEntries removes the entries that a filter picks, some at a time.
func (h records) dropEntries(ctx context.Context, f quarantine.Filter, add func(source, reason string, n quarantine.Count)) error {
	var refs []quarantine.Ref
	counts := map[[2]string]quarantine.Count{}
	drop := func() error {
		if err := h.Records.Remove(refs); err != nil {
			return err
		}
		for k, n := range counts {
			add(k[0], k[1], n)
		}
		refs = refs[:0]
		clear(counts)
		return ctx.Err()
	}
	for e, err := range h.Records.Matching(f) {
		if err != nil {
			return err
		}
		refs = append(refs, e.Ref())
		k := [2]string{e.Source, e.Reason}
		counts[k] = counts[k].Plus(e.Count())
		if len(refs) == dropRecords {
			if err := drop(); err != nil {
				return err
			}
		}
	}
	return drop()
}
