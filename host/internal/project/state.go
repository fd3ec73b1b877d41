package project

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
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

// State is a project's people or identity mappings: generations, and the fold that
// makes them. Gate is held by the caller of Latest until the catalog and the run refer
// to the generation, so that a sweep cannot delete it.
type State struct {
	Gate        lifecycle.Gate
	Generations *generation.Store

	project *config.Project
	stream  batch.Stream
	fold    folder
	limit   int64 // bytes of rows that one fold takes
	reader  *journal.Reader
	shared  *shared
}

func newState(o *shared, p *config.Project, stream batch.Stream, reader *journal.Reader) *State {
	return &State{
		Gate: lifecycle.NewGate(), Generations: generation.New(o.Store, p.ID, stream), project: p, stream: stream, limit: foldBytes, reader: reader, shared: o,
	}
}

// profiles returns the fold of profile operations.
func (s *State) profiles() *profile.Fold {
	return profile.New(profile.Options{Generations: s.Generations, Spill: s.shared.Spill, Dir: fmt.Sprintf("%s/%d", s.stream, s.project.ID)})
}

// foldPeople folds profile operations.
func (s *State) foldPeople(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(ctx context.Context, fn func(journal.Block) error) error) (*pipeline.Generation, error) {
	next, refused, err := s.profiles().Next(ctx, last, seq, blocks)
	for reason, n := range refused {
		s.shared.Log.Warn("changes of properties were not applied", "project", s.project.Name, "reason", reason, "changes", n)
	}
	return next, err
}

// foldIdentity returns the fold of identity links. The index reads the journal itself:
// it may have to begin at its beginning, or be ahead.
func (s *State) foldIdentity(links *Links) folder {
	return func(ctx context.Context, last *pipeline.Generation, seq int64, _ func(context.Context, func(journal.Block) error) error) (*pipeline.Generation, error) {
		x, err := links.Index(ctx)
		if err != nil {
			return nil, err
		}
		return x.Generation(ctx, s.Generations, last, seq)
	}
}

// pulled reports whether a source that pulls writes the state.
func (s *State) pulled() bool {
	return s.stream == batch.People && s.project.ProfilesPulled
}

// Latest folds all sealed rows, and returns the latest generation. It is nil if
// profiles are pulled and were not yet. The caller holds Gate.
func (s *State) Latest(ctx context.Context) (*pipeline.Generation, error) {
	last, err := s.shared.Catalog.Generation(ctx, s.project.ID, s.stream)
	if err != nil {
		return nil, err
	}
	if last == nil && s.pulled() {
		return nil, nil
	}
	seq, err := s.shared.Catalog.Sequence(ctx, s.project.ID)
	if err != nil {
		return nil, err
	}
	for first := last; last == nil || last.Seq < seq; {
		next, err := s.advance(ctx, last, seq)
		if err != nil {
			return nil, fmt.Errorf("%s of project %s: %w", s.stream, s.project.Name, err)
		}
		if err := s.shared.Catalog.SetGeneration(ctx, s.project.ID, s.stream, last, next); err != nil {
			return nil, err
		}
		crashpoint.Here("fold.recorded")
		if last = next; last.Seq >= seq && (first == nil || first.Blob != last.Blob) {
			if err := s.Sweep(ctx); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// advance folds the journal's rows after the last generation, up to seq or as
// many as one fold takes.
func (s *State) advance(ctx context.Context, last *pipeline.Generation, seq int64) (*pipeline.Generation, error) {
	after := int64(0)
	if last != nil {
		after = last.Seq
	}
	extents, to, err := s.Unfolded(ctx, after, seq, s.limit)
	if err != nil {
		return nil, err
	}
	if len(extents) == 0 && last != nil {
		next := *last
		next.Seq = to
		return &next, nil
	}
	// One fold at a time takes memory, whatever the number of projects.
	leave, err := s.shared.folds.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	total := pipeline.Sum(extents)
	report := progress.Report{Stage: "fold", Name: fmt.Sprintf("%s of %s", s.stream, s.project.Name), Total: total.Bytes}
	next, err := s.fold(ctx, last, to, func(ctx context.Context, fn func(journal.Block) error) error {
		for _, e := range extents {
			err := s.reader.Extent(ctx, e.Ref, func(b journal.Block) error {
				report.Rows += int64(b.Rows)
				report.Bytes += int64(len(b.Payload))
				s.shared.Observer.Report(report)
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
		s.shared.Observer.Report(report)
	}
	return next, nil
}

// Unfolded lists the state's extents after a sequence: see the function Unfolded. Of
// profiles that are pulled there is nothing to fold: operations that were collected
// before do not count.
func (s *State) Unfolded(ctx context.Context, after, seq, limit int64) (extents []pipeline.Extent, to int64, err error) {
	if s.pulled() {
		return nil, seq, nil
	}
	return Unfolded(ctx, s.shared.Catalog, s.project.ID, s.stream, after, seq, limit)
}

// Unfolded lists the extents of a project's stream after a sequence, and the sequence
// up to which the list is complete: seq, or less when the rows have more bytes than
// limit. The project need not be configured.
func Unfolded(ctx context.Context, c *catalog.Catalog, project int64, stream batch.Stream, after, seq, limit int64) (extents []pipeline.Extent, to int64, err error) {
	to = seq
	var bytes int64
	read := after
	err = c.Extents(ctx, project, pipeline.StreamKind(stream), after, seq, func(at int64, some []pipeline.Extent) error {
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

// Sweep removes the blocks that no generation in use refers to. The caller holds
// Gate, unless nothing is folded yet.
func (s *State) Sweep(ctx context.Context) error {
	used, err := s.shared.Catalog.Generations(ctx, s.project.ID, s.stream)
	if err != nil {
		return err
	}
	return s.Generations.Sweep(ctx, used)
}

// Replace makes a whole set the latest generation, and then moves the cursor of its
// source. Without the cursor, after a crash, the set is read again. fill makes the
// generation, as of a sequence of the journal.
func (s *State) Replace(ctx context.Context, j *Journal, move journal.CursorMove, fill func(ctx context.Context, fold *profile.Fold, seq int64) (*pipeline.Generation, error)) (*pipeline.Generation, error) {
	leave, err := s.Gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	last, err := s.shared.Catalog.Generation(ctx, s.project.ID, s.stream)
	if err != nil {
		return nil, err
	}
	seq, err := s.shared.Catalog.Sequence(ctx, s.project.ID)
	if err != nil {
		return nil, err
	}
	next, err := s.fill(ctx, seq, fill)
	if err != nil {
		return nil, err
	}
	if err := s.shared.Catalog.SetGeneration(ctx, s.project.ID, s.stream, last, next); err != nil {
		return nil, err
	}
	w, err := j.Writer(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.Append(ctx, journal.Chunk{Cursors: []journal.CursorMove{move}}); err != nil {
		return nil, err
	}
	return next, errors.Join(w.Seal(ctx), s.Sweep(ctx))
}

// fill calls fill while no other state is folded.
func (s *State) fill(ctx context.Context, seq int64, fill func(ctx context.Context, fold *profile.Fold, seq int64) (*pipeline.Generation, error)) (*pipeline.Generation, error) {
	leave, err := s.shared.folds.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return fill(ctx, s.profiles(), seq)
}
