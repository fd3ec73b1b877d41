package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/ingest"
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
func (h *Host) Quarantine(_ context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
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
		return nil, fmt.Errorf("a list of %d quarantined records was asked for: at least 1 and at most %d are listed at once; pick some with --source or --reason", limit, maxListed)
	}
	for e, err := range h.quarantine.Matching(f) {
		if err != nil {
			return nil, err
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
	return list, nil
}

func quarantinedRecord(e quarantine.Entry) operation.QuarantinedRecord {
	return operation.QuarantinedRecord{
		ID: e.ID, Source: e.Source, Time: e.Time, Position: e.Position, Reason: e.Reason, Detail: e.Detail,
		Size: int64(len(e.Bytes)), Truncated: e.Truncated, OriginalSize: e.Size, Bytes: e.Bytes,
	}
}

// quarantineStatus is the state of the whole quarantine.
func (h *Host) quarantineStatus() (s operation.QuarantineStatus, err error) {
	s.Bytes, s.Cap = h.quarantine.Used()
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
func (h *Host) quarantineLosses(f quarantine.Filter) (losses operation.QuarantineLosses, err error) {
	err = h.quarantine.Missing(func(m quarantine.Missing) {
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
func (h *Host) verifyQuarantine(ctx context.Context, report *operation.JournalReport) error {
	files, err := h.quarantine.Verify(ctx)
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

// quarantineLedger is the ledger in the host's catalog, which a rebuild
// replaces.
type quarantineLedger struct{ host *Host }

// Sources implements quarantine.Ledger.
func (l quarantineLedger) Sources(ctx context.Context) ([]string, error) {
	return l.host.catalog.Quarantine().Sources(ctx)
}

// Get implements quarantine.Ledger.
func (l quarantineLedger) Get(ctx context.Context, source, key string) ([]byte, error) {
	return l.host.catalog.Quarantine().Get(ctx, source, key)
}

// Each implements quarantine.Ledger.
func (l quarantineLedger) Each(ctx context.Context, source, prefix string, fn func(string, []byte) error) error {
	return l.host.catalog.Quarantine().Each(ctx, source, prefix, fn)
}

// Set implements quarantine.Ledger.
func (l quarantineLedger) Set(ctx context.Context, source string, values map[string][]byte) error {
	return l.host.catalog.Quarantine().Set(ctx, source, values)
}

// quarantineCounts counts the refused records of the sources and reasons that a
// filter picks, by source and reason.
func (h *Host) quarantineCounts(f quarantine.Filter) ([]operation.QuarantineCount, error) {
	counts, err := h.quarantine.Counts()
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

// refusedTotals are the numbers of a source's refused records, by reason.
func refusedTotals(counts map[string]quarantine.Count) map[string]int64 {
	totals := make(map[string]int64, len(counts))
	for reason, n := range counts {
		totals[reason] = n.Total()
	}
	return totals
}

// ReplayQuarantine implements Operations: records that the schema takes
// become rows, and leave the quarantine once these are durable. Rows that a
// destination refused stay: they are in the journal already.
func (h *Host) ReplayQuarantine(ctx context.Context, f quarantine.Filter) (*operation.ReplayReport, error) {
	if strings.HasPrefix(f.Source, quarantine.PipelinePrefix) || strings.HasPrefix(f.ID, quarantine.PipelinePrefix) {
		return nil, errors.New("rows that a destination refused are in the journal and cannot be replayed: mend the destination, and export them by another pipeline")
	}
	if f.ID != "" {
		if _, err := h.quarantine.Get(f.ID); err != nil {
			return nil, err
		}
	}
	report := &operation.ReplayReport{}
	for _, s := range h.config.Sources {
		if f.Source != "" && f.Source != s.Reference() {
			continue
		}
		filter := f
		filter.Source = s.Reference()
		err := h.replay(ctx, filter, report, func(ctx context.Context, some []quarantine.Entry) (map[string]bool, int64, error) {
			return h.replayRead(ctx, s.Project, ingest.Options{Records: recordsOf(s.Records), Times: times(s.Project, s.Local)}, some)
		})
		if err != nil {
			return nil, fmt.Errorf("replay records of %s: %w", s.Reference(), err)
		}
	}
	for _, p := range h.pulls {
		name := p.config.Reference()
		if f.Source != "" && f.Source != name {
			continue
		}
		filter := f
		filter.Source = name
		err := h.replay(ctx, filter, report, func(ctx context.Context, some []quarantine.Entry) (map[string]bool, int64, error) {
			return h.replayRead(ctx, p.config.Project, p.parsing(), some)
		})
		if err != nil {
			return nil, fmt.Errorf("replay records of %s: %w", name, err)
		}
	}
	for _, c := range h.config.Collectors {
		if f.Source != "" && f.Source != c.Reference() {
			continue
		}
		filter := f
		filter.Source = c.Reference()
		err := h.replay(ctx, filter, report, func(ctx context.Context, some []quarantine.Entry) (map[string]bool, int64, error) {
			return h.replayCollected(ctx, c, some)
		})
		if err != nil {
			return nil, fmt.Errorf("replay records of %s: %w", c.Reference(), err)
		}
	}
	return report, nil
}

// replayer feeds records to journals, seals, and returns which are refused
// again, and how many of the others were repaired.
type replayer func(ctx context.Context, some []quarantine.Entry) (refused map[string]bool, repaired int64, err error)

// Bounds of the records that are replayed between two seals, and held in memory.
const (
	replayBytes   = 16 << 20
	replayRecords = 20_000
)

func (h *Host) replay(ctx context.Context, f quarantine.Filter, report *operation.ReplayReport, feed replayer) error {
	next, stop := iter.Pull2(h.quarantine.Matching(f))
	defer stop()
	for {
		var some []quarantine.Entry
		for size := 0; size < replayBytes && len(some) < replayRecords; {
			e, err, ok := next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			some = append(some, e)
			size += len(e.Bytes)
		}
		if len(some) == 0 {
			return nil
		}
		if err := h.replaySome(ctx, some, report, feed); err != nil {
			return err
		}
	}
}

// replaySome feeds records to journals, and removes those that were accepted. Of
// a truncated record the beginning might pass for a record: it is not fed.
func (h *Host) replaySome(ctx context.Context, some []quarantine.Entry, report *operation.ReplayReport, feed replayer) error {
	var whole []quarantine.Entry
	for _, e := range some {
		if !e.Truncated {
			whole = append(whole, e)
		}
	}
	refused, repaired, err := feed(ctx, whole)
	if err != nil {
		return err
	}
	crashpoint.Here("replay.sealed")
	var accepted []quarantine.Ref
	for _, e := range whole {
		if !refused[e.ID] {
			accepted = append(accepted, e.Ref())
		}
	}
	report.Records += int64(len(some))
	report.Accepted += int64(len(accepted))
	report.Refused += int64(len(some) - len(accepted))
	report.Repaired += repaired
	report.Truncated += int64(len(some) - len(whole))
	return h.quarantine.Remove(accepted)
}

// replayRead replays records of a source that is read. Options say how they are
// parsed.
func (h *Host) replayRead(ctx context.Context, p *config.Project, o ingest.Options, some []quarantine.Entry) (map[string]bool, int64, error) {
	w, err := h.projects.Of(p).Journal.Writer(ctx)
	if err != nil {
		return nil, 0, err
	}
	refused := &refusedPieces{ids: map[string]bool{}}
	var counters ingest.Counters
	o.Source, o.Appender, o.Rejects, o.Now, o.Counters = &replaySource{entries: some}, w, refused, time.Now, &counters
	err = ingest.Run(ctx, o)
	if err == nil {
		err = w.Seal(ctx)
	}
	return refused.ids, counters.Repaired.Load(), err
}

// replaySource gives each quarantined record as a piece of its own, named by
// its id.
type replaySource struct {
	entries []quarantine.Entry
	next    int
}

func (s *replaySource) Next(context.Context) (*ingest.Piece, error) {
	if s.next == len(s.entries) {
		return nil, io.EOF
	}
	e := s.entries[s.next]
	s.next++
	// As of when it came: a record that is replayed twice, because of a crash, is the
	// same.
	return &ingest.Piece{Data: e.Bytes, Records: []ingest.Span{{From: 0, To: len(e.Bytes)}}, File: e.ID, Arrived: e.Time}, nil
}

// refusedPieces notes which pieces held a record that was refused again.
type refusedPieces struct{ ids map[string]bool }

func (r *refusedPieces) Put(file string, _ int, _, _ int64, refused []ingest.Refusal) error {
	if len(refused) > 0 {
		r.ids[file] = true
	}
	return nil
}
