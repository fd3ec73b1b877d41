package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/profile"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/sdk/batch"
)

// foldBytes is the most bytes of rows that one fold takes, unless a single
// segment has more. A host that stops loses at most one fold's work.
const foldBytes = 4 << 30

// folder makes the next generation out of the last one, which is nil for the
// first, and of the journal's blocks after it up to sequence seq. blocks passes
// them to fn in the order in which they were sealed; a block is valid until fn
// returns.
type folder func(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(ctx context.Context, fn func(journal.Block) error) error) (*pipeline.Generation, error)

// state is a project's people or identity mappings: generations, and the fold
// that makes them.
type state struct {
	project     *config.Project
	stream      batch.Stream
	generations *generation.Store
	fold        folder
	limit       int64 // bytes of rows that one fold takes

	// gate is held until the catalog and the run refer to a new generation, so
	// that a sweep cannot delete it.
	gate lifecycle.Gate
}

type stateKey struct {
	project int64
	stream  batch.Stream
}

// state returns the state of a project's stream.
func (h *Host) state(p *config.Project, stream batch.Stream) *state {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := stateKey{p.ID, stream}
	if s := h.states[key]; s != nil {
		return s
	}
	s := &state{project: p, stream: stream, generations: generation.New(h.store, p.ID, stream), limit: foldBytes, gate: lifecycle.NewGate()}
	if stream == batch.People {
		s.fold = h.foldPeople(s)
	} else {
		s.fold = h.foldIdentity(s)
	}
	h.states[key] = s
	return s
}

// foldPeople folds profile operations.
func (h *Host) foldPeople(s *state) folder {
	f := profile.New(profile.Options{
		Generations: s.generations, Spill: h.spill, Dir: fmt.Sprintf("%s/%d", s.stream, s.project.ID),
	})
	return func(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(ctx context.Context, fn func(journal.Block) error) error) (*pipeline.Generation, error) {
		next, refused, err := f.Next(ctx, last, seq, blocks)
		for reason, n := range refused {
			h.log.Warn("changes of properties were not applied", "project", s.project.Name, "reason", reason, "changes", n)
		}
		return next, err
	}
}

// pulled reports whether a source that pulls writes the state.
func (s *state) pulled() bool {
	return s.stream == batch.People && s.project.ProfilesPulled
}

// latest folds all sealed rows, and returns the latest generation. It is nil if
// profiles are pulled and were not yet. The caller holds s.gate.
func (h *Host) latest(ctx context.Context, s *state) (*pipeline.Generation, error) {
	last, err := h.catalog.Generation(ctx, s.project.ID, s.stream)
	if err != nil {
		return nil, err
	}
	if last == nil && s.pulled() {
		return nil, nil
	}
	seq, err := h.catalog.Sequence(ctx, s.project.ID)
	if err != nil {
		return nil, err
	}
	for first := last; last == nil || last.Seq < seq; {
		next, err := h.advance(ctx, s, last, seq)
		if err != nil {
			return nil, fmt.Errorf("%s of project %s: %w", s.stream, s.project.Name, err)
		}
		if err := h.catalog.SetGeneration(ctx, s.project.ID, s.stream, last, next); err != nil {
			return nil, err
		}
		crashpoint.Here("fold.recorded")
		if last = next; last.Seq >= seq && (first == nil || first.Blob != last.Blob) {
			if err := h.sweepState(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// advance folds the journal's rows after the last generation, up to seq or as
// many as one fold takes.
func (h *Host) advance(ctx context.Context, s *state, last *pipeline.Generation, seq int64) (*pipeline.Generation, error) {
	after := int64(0)
	if last != nil {
		after = last.Seq
	}
	extents, to, err := h.unfolded(ctx, s, after, seq, s.limit)
	if err != nil {
		return nil, err
	}
	if len(extents) == 0 && last != nil {
		next := *last
		next.Seq = to
		return &next, nil
	}
	j, err := h.journal(ctx, s.project)
	if err != nil {
		return nil, err
	}
	// One fold at a time takes memory, whatever the number of projects.
	leave, err := h.folds.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	total := pipeline.Sum(extents)
	report := progress.Report{Stage: "fold", Name: fmt.Sprintf("%s of %s", s.stream, s.project.Name), Total: total.Bytes}
	next, err := s.fold(ctx, last, to, func(ctx context.Context, fn func(journal.Block) error) error {
		for _, e := range extents {
			err := j.reader.Extent(ctx, e.Ref, func(b journal.Block) error {
				report.Rows += int64(b.Rows)
				report.Bytes += int64(len(b.Payload))
				h.observer.Report(report)
				return fn(b)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(extents) > 0 {
		// Some folds read the journal by themselves.
		report.Rows, report.Bytes, report.Done = total.Rows, total.Bytes, true
		h.observer.Report(report)
	}
	return next, nil
}

// unfolded lists a stream's extents after a sequence, and the sequence up to
// which the list is complete: seq, or less when the rows have more bytes than
// limit. Of profiles that are pulled there is nothing to fold: operations that were
// collected before do not count.
func (h *Host) unfolded(ctx context.Context, s *state, after, seq, limit int64) (extents []pipeline.Extent, to int64, err error) {
	if s.pulled() {
		return nil, seq, nil
	}
	to = seq
	var bytes int64
	read := after
	err = h.catalog.Extents(ctx, s.project.ID, pipeline.StreamKind(s.stream), after, seq, func(at int64, some []pipeline.Extent) error {
		size := pipeline.Sum(some).RowsBytes
		if bytes > 0 && bytes+size > limit {
			to = read
			return pipeline.ErrStop
		}
		extents = append(extents, some...)
		bytes, read = bytes+size, at
		return nil
	})
	if errors.Is(err, pipeline.ErrStop) {
		err = nil
	}
	return extents, to, err
}

// sweepState removes the blocks that no generation in use refers to. The caller
// holds s.gate.
func (h *Host) sweepState(ctx context.Context, s *state) error {
	used, err := h.catalog.Generations(ctx, s.project.ID, s.stream)
	if err != nil {
		return err
	}
	return s.generations.Sweep(ctx, used)
}

// sweepStates removes the blocks of folds that a crash has interrupted. Blocks
// that cannot be removed stay: they only take disk space.
func (h *Host) sweepStates(ctx context.Context, p *config.Project) {
	for _, stream := range []batch.Stream{batch.People, batch.Identity} {
		s := &state{project: p, stream: stream, generations: generation.New(h.store, p.ID, stream)}
		if err := h.sweepState(ctx, s); err != nil && ctx.Err() == nil {
			h.log.Warn("old generations could not be removed", "project", p.Name, "stream", stream.String(), "error", err)
		}
	}
}

// replacement is the run that replaces the set at a pipeline's destination by
// the latest one; nil when that is there already.
func (h *Host) replacement(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, asOf time.Time) (*pipeline.Run, error) {
	s := h.state(p.Project, p.Stream)
	leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	g, err := h.latest(ctx, s)
	if err != nil || g == nil {
		return nil, err
	}
	last, err := h.exported(ctx, stored)
	if err != nil {
		return nil, err
	}
	next, err := pipeline.Replacement(stored, g, last.Rows, p.AllowShrink)
	if err != nil {
		return nil, err
	}
	if unchanged(g, last, p.AllowShrink) {
		return nil, h.catalog.MoveCursor(ctx, stored, next)
	}
	return h.plan(ctx, p, stored, &pipeline.Run{Generation: g, Next: next, AsOf: asOf}, false)
}

// unchanged reports whether a pipeline that exported last needs no run to export
// g: it is the same set, or nothing was exported and the set is empty.
func unchanged(g *pipeline.Generation, last pipeline.Generation, allowShrink bool) bool {
	return g.Blob == last.Blob || g.Rows == 0 && last.Blob == "" && !allowShrink
}

// exported is the generation that a pipeline without an open run has exported
// last; the zero value if there is none, or if the destination's last run is
// not this catalog's.
func (h *Host) exported(ctx context.Context, stored *pipeline.Pipeline) (pipeline.Generation, error) {
	runs, err := h.catalog.Runs(ctx, stored.ID, 1)
	if err != nil || len(runs) == 0 || runs[0].Generation == nil || runs[0].Number != stored.Committed.Number {
		return pipeline.Generation{}, err
	}
	return *runs[0].Generation, nil
}

// blocksOf hands out the blocks of a project's generations.
type blocksOf struct {
	host    *Host
	project *config.Project
}

// Generation implements export.Generations.
func (b blocksOf) Generation(ctx context.Context, stream batch.Stream, blob string, fn func(journal.Block) error) error {
	return b.host.state(b.project, stream).generations.Blocks(ctx, blob, fn)
}

// verifyStates reads every byte of the latest generations, and compares them
// with their checksums.
func (h *Host) verifyStates(ctx context.Context, project int64, report *operation.JournalReport) error {
	for _, stream := range []batch.Stream{batch.People, batch.Identity} {
		g, err := h.catalog.Generation(ctx, project, stream)
		for err == nil && g != nil {
			g, err = h.verifyState(ctx, project, stream, g, report)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyState verifies a generation. When a fold has replaced it
// since and its files are gone, verifyState returns the one that follows.
func (h *Host) verifyState(ctx context.Context, project int64, stream batch.Stream, g *pipeline.Generation, report *operation.JournalReport) (*pipeline.Generation, error) {
	err := generation.New(h.store, project, stream).Rows(ctx, g.Blob, func([]byte) error { return nil })
	var damage *segment.DamageError
	switch {
	case errors.As(err, &damage):
		report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: damage.Place, Place: "file", Detail: damage.Detail})
	case errors.Is(err, fs.ErrNotExist):
		latest, latestErr := h.catalog.Generation(ctx, project, stream)
		if latestErr != nil || latest != nil && latest.Blob != g.Blob {
			return latest, latestErr
		}
		report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: g.Blob, Place: "file", Detail: err.Error()})
	case err != nil:
		return nil, err
	}
	report.Bytes += g.Bytes
	return nil, nil
}
