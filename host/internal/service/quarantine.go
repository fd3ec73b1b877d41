package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// defaultListed is how many records Quarantine lists unless told.
const defaultListed = 100

// Bounds of a listing, which is held in memory: the bytes of each record in it,
// and its records. One record alone is shown whole.
const (
	listedBytes = 1 << 10
	maxListed   = 10_000
)

// Quarantine implements Operations.
func (h records) Quarantine(_ context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	list := &operation.QuarantineList{Records: []operation.QuarantinedRecord{}}
	var err error
	if list.Counts, err = h.quarantineCounts(f); err != nil {
		return nil, err
	}
	if list.QuarantineLosses, err = h.quarantineLosses(f); err != nil {
		return nil, err
	}
	limit := cmp.Or(f.Limit, defaultListed)
	if limit < 0 || limit > maxListed {
		return nil, operation.Faultf(operation.InvalidParameter, "a list of %d quarantined records was asked for: at least 1 and at most %d are listed at once; pick some with --source or --reason", limit, maxListed)
	}
	passed := f.After == ""
	for e, err := range h.Records.Matching(f) {
		if err != nil {
			return nil, err
		}
		if !passed {
			passed = e.ID == f.After
			continue
		}
		record := quarantinedRecord(e)
		if f.ID == "" {
			record.Bytes = bytes.Clone(e.Bytes[:min(len(e.Bytes), listedBytes)])
		}
		list.Records = append(list.Records, record)
		if len(list.Records) == limit {
			break
		}
	}
	if !passed {
		return nil, operation.Faultf(operation.InvalidParameter, "the record %q after which the list continues is no longer in quarantine: begin the list again", f.After)
	}
	return list, nil
}

func quarantinedRecord(e quarantine.Entry) operation.QuarantinedRecord {
	return operation.QuarantinedRecord{
		ID: e.ID, Source: e.Source, Time: e.Time, Position: e.Position, Reason: e.Reason, Detail: e.Detail,
		Size: int64(len(e.Bytes)), Truncated: e.Truncated, OriginalSize: e.Size, Bytes: e.Bytes,
	}
}

// quarantineStatus is the state of the whole quarantine.
func (h records) quarantineStatus() (s operation.QuarantineStatus, err error) {
	s.Bytes, s.Cap = h.Records.Used()
	if s.Counts, err = h.quarantineCounts(quarantine.Filter{}); err != nil {
		return s, err
	}
	s.QuarantineLosses, err = h.quarantineLosses(quarantine.Filter{})
	return s, err
}

// shownMissing is how many files that have lost records are named.
const shownMissing = 100

// quarantineLosses lists the files of the sources that a filter picks that have
// lost records.
func (h records) quarantineLosses(f quarantine.Filter) (losses operation.QuarantineLosses, err error) {
	err = h.Records.Missing(func(m quarantine.Missing) {
		lost := operation.QuarantineMissing{
			Source: m.Source, File: filepath.Join(datadir.QuarantineDir, m.Source, m.File), Reasons: map[string]int64{}, Consequence: consequence(m.Source),
		}
		for reason, n := range m.Counts {
			if f.Matches(quarantine.Entry{Source: m.Source, Reason: reason, ID: f.ID}) {
				lost.Reasons[reason] = n.Total()
				lost.Records += n.Total()
			}
		}
		losses.MissingRecords += lost.Records
		if lost.Records > 0 && len(losses.Missing) < shownMissing {
			losses.Missing = append(losses.Missing, lost)
		}
	})
	return losses, err
}

// consequence says what it means that quarantined records of a source are lost.
func consequence(source string) string {
	switch {
	case strings.HasPrefix(source, quarantine.PipelinePrefix):
		return "the journal still has these rows; why the destination refused them is lost"
	case strings.HasPrefix(source, "collector."):
		return "no other copy of these records is kept, and clients were told that some of them were taken"
	default:
		return "these records are lost unless the files that they came from are still there"
	}
}

// verifyQuarantine reads all quarantined records and reports those that are
// missing.
func (h records) verifyQuarantine(ctx context.Context, report *operation.JournalReport) error {
	files, err := h.Records.Verify(ctx)
	if err != nil {
		return err
	}
	report.QuarantineFiles = int64(files)
	losses, err := h.quarantineLosses(quarantine.Filter{})
	if err != nil {
		return err
	}
	for _, m := range losses.Missing {
		report.Corruptions = append(report.Corruptions, operation.Corruption{
			Blob: m.File, Place: fmt.Sprintf("%d records", m.Records), Detail: "they were kept in quarantine and are missing: " + m.Consequence,
		})
	}
	if more := losses.MissingRecords; len(losses.Missing) == shownMissing {
		report.Corruptions = append(report.Corruptions, operation.Corruption{
			Blob: datadir.QuarantineDir, Place: fmt.Sprintf("%d records", more), Detail: "are missing from quarantine all together",
		})
	}
	return nil
}

// quarantineCounts counts the refused records of the sources and reasons that a
// filter picks, by source and reason.
func (h records) quarantineCounts(f quarantine.Filter) ([]operation.QuarantineCount, error) {
	counts, err := h.Records.Counts()
	if err != nil {
		return nil, err
	}
	return quarantineCounts(counts, func(source, reason string) bool {
		return f.Matches(quarantine.Entry{Source: source, Reason: reason, ID: f.ID})
	}), nil
}

// quarantineCounts lists counts by source and reason, those that picked reports.
func quarantineCounts(counts map[string]map[string]quarantine.Count, picked func(source, reason string) bool) []operation.QuarantineCount {
	list := []operation.QuarantineCount{}
	for source, reasons := range counts {
		for reason, n := range reasons {
			if picked(source, reason) {
				list = append(list, operation.QuarantineCount{
					Source: source, Reason: reason, Count: n.Total(), Truncated: n.Truncated, OnlyCounted: n.Counted,
				})
			}
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return a.Source < b.Source || a.Source == b.Source && a.Reason < b.Reason
	})
	return list
}

// ReplayQuarantine implements Operations: records that the schema takes
// become rows, and leave the quarantine once these are durable. Rows that a
// destination refused stay: they are in the journal already.
func (h records) ReplayQuarantine(ctx context.Context, f quarantine.Filter) (*operation.ReplayReport, error) {
	if strings.HasPrefix(f.Source, quarantine.PipelinePrefix) || strings.HasPrefix(f.ID, quarantine.PipelinePrefix) {
		return nil, errors.New("rows that a destination refused are in the journal and cannot be replayed: mend the destination, and export them by another pipeline")
	}
	if f.ID != "" {
		record, err := h.Records.Get(f.ID)
		if err != nil {
			return nil, err
		}
		f.Source = cmp.Or(f.Source, record.Source)
	}
	return h.Intake.Replay(ctx, f, h.Serving)
}
