package intake

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Replay feeds the quarantined records that a filter picks to their sources: those that
// the schema takes become rows, and leave the quarantine once these are durable. Rows
// that a destination refused are not among them. serving is whether this host serves.
func (s *Set) Replay(ctx context.Context, f quarantine.Filter, serving bool) (*operation.ReplayReport, error) {
	report := &operation.ReplayReport{}
	if f.Source != "" {
		if err := checkReplayable(s, f.Source); err != nil {
			return nil, err
		}
	}
	for _, x := range s.now.Load().all() {
		if f.Source != "" && f.Source != x.Name() {
			continue
		}
		r := &replay{store: s.o.Quarantine, source: x, serving: serving, report: report}
		if err := r.all(ctx, f); err != nil {
			return nil, fmt.Errorf("replay records of %s: %w", x.Name(), err)
		}
	}
	return report, nil
}

// replay is the replay of one source's records.
type replay struct {
	store   *quarantine.Store
	source  Source
	serving bool
	report  *operation.ReplayReport
}

// Bounds of the records that are replayed between two seals, and held in memory.
const (
	replayBytes   = 16 << 20
	replayRecords = 20_000
)

// all replays the records that a filter picks, some at a time.
func (r *replay) all(ctx context.Context, f quarantine.Filter) error {
	f.Source = r.source.Name()
	next, stop := iter.Pull2(r.store.Matching(f))
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
		if err := r.some(ctx, some); err != nil {
			return err
		}
	}
}

// some feeds records to journals, and removes those that were accepted. Of
// a truncated record the beginning might pass for a record: it is not fed.
func (r *replay) some(ctx context.Context, some []quarantine.Entry) error {
	var whole []quarantine.Entry
	for _, e := range some {
		if !e.Truncated {
			whole = append(whole, e)
		}
	}
	refused, repaired, err := r.source.Replay(ctx, whole, r.serving)
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
	report := r.report
	report.Records += int64(len(some))
	report.Accepted += int64(len(accepted))
	report.Refused += int64(len(some) - len(accepted))
	report.Repaired += repaired
	report.Truncated += int64(len(some) - len(whole))
	return r.store.Remove(accepted)
}

// replayRead replays records of a source that is read. parsing tells how they are
// parsed.
func replayRead(ctx context.Context, o *Options, p *project.Project, parsing ingest.Options, some []quarantine.Entry) (map[string]bool, int64, error) {
	w, err := p.Journal.Writer(ctx)
	if err != nil {
		return nil, 0, err
	}
	refused := &refusedPieces{ids: map[string]bool{}}
	var counters ingest.Counters
	parsing.Source, parsing.Appender, parsing.Rejects, parsing.Now, parsing.Counters = &replaySource{entries: some}, w, refused, o.Now, &counters
	err = ingest.Run(ctx, parsing)
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
