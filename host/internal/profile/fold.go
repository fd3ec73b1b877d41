package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Options configure a Fold.
type Options struct {
	Generations *generation.Store
	// Spill takes the operations that do not fit into memory while they are sorted,
	// below Dir, which is this fold's alone. Nothing there outlives a fold.
	Spill disk.Store
	Dir   string
	// Memory is how many bytes operations take; 0: 48 MiB.
	Memory int
}

// defaultMemory leaves room for a long profile in addition to the generation's
// blocks.
const defaultMemory = 48 << 20

// Fold makes generations of profiles. It is for one goroutine.
type Fold struct{ o Options }

// New returns a fold.
func New(o Options) *Fold {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	return &Fold{o}
}

// Blocks calls fn with blocks of operations, in the order in which they were
// sealed. A block is valid until fn returns.
type Blocks func(ctx context.Context, fn func(journal.Block) error) error

// Refused counts changes of properties that were not applied, by reason.
type Refused map[schema.Reason]int64

// Next applies operations to the last generation, nil if there is none, and
// returns the next one. seq is the journal's sequence up to which they were read.
func (f *Fold) Next(ctx context.Context, last *pipeline.Generation, seq int64, operations Blocks) (*pipeline.Generation, Refused, error) {
	refused := Refused{}
	next, err := f.update(ctx, last, seq, refused, func(s *sorter) error { return s.addAll(ctx, operations) })
	if err = errors.Join(err, f.Clear(context.WithoutCancel(ctx))); err != nil {
		return nil, nil, fmt.Errorf("fold profiles: %w", err)
	}
	return next, refused, nil
}

// Replace returns a generation of the profiles that operations make out of nothing.
// Profiles of other generations are not in it; blocks that are the same as theirs are
// shared. rows calls add with each operation's row, as schema.AppendOperation writes
// it. seq is the sequence of the journal that the generation stands for.
func (f *Fold) Replace(ctx context.Context, seq int64, rows func(add func(row []byte) error) error) (*pipeline.Generation, Refused, error) {
	refused := Refused{}
	next, err := f.update(ctx, nil, seq, refused, func(s *sorter) error {
		return rows(func(row []byte) error {
			o, err := schema.SplitOperation(row)
			if err != nil {
				return err
			}
			return s.add(ctx, row, o.ID)
		})
	})
	if err = errors.Join(err, f.Clear(context.WithoutCancel(ctx))); err != nil {
		return nil, nil, fmt.Errorf("replace profiles: %w", err)
	}
	return next, refused, nil
}

// Clear removes the files of a fold that ended early.
func (f *Fold) Clear(ctx context.Context) error { return removeAll(ctx, f.o.Spill, f.o.Dir) }

// update applies the operations that fill adds to the last generation.
func (f *Fold) update(ctx context.Context, last *pipeline.Generation, seq int64, refused Refused, fill func(*sorter) error) (*pipeline.Generation, error) {
	if err := f.Clear(ctx); err != nil {
		return nil, err
	}
	s := newSorter(f.o.Spill, f.o.Dir, f.o.Memory)
	if err := fill(s); err != nil {
		return nil, err
	}
	crashpoint.Here("profile.sorted")
	var next *pipeline.Generation
	err := s.sorted(ctx, func(m *merge) error {
		var err error
		next, err = f.o.Generations.Update(ctx, last, seq, &changes{operations: m, profile: newProfile(refused)})
		return err
	})
	return next, err
}

// addAll adds all operations.
func (s *sorter) addAll(ctx context.Context, operations Blocks) error {
	var d segment.Decoder
	var rows []byte
	return operations(ctx, func(b journal.Block) error {
		var err error
		if rows, err = d.Decode(rows[:0], b); err != nil {
			return err
		}
		for row := range bytes.Lines(rows) {
			o, err := schema.SplitOperation(row)
			if err != nil {
				return err
			}
			if err := s.add(ctx, row, o.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// changes are sorted operations as generation.Changes.
type changes struct {
	operations *merge
	profile    *profile
	id         []byte // of the profile that Next has found
	hash       uint64
}

// Next implements generation.Changes.
func (c *changes) Next(context.Context) (generation.Key, bool, error) {
	if !c.operations.more() {
		return generation.Key{}, false, nil
	}
	k := c.operations.key()
	c.id, c.hash = append(c.id[:0], k.ID...), k.Hash
	return generation.Key{Hash: c.hash, ID: c.id}, true, nil
}

// Apply implements generation.Changes.
func (c *changes) Apply(dst, old []byte) ([]byte, error) {
	p := c.profile
	p.begin(c.id)
	if old != nil {
		if err := p.read(old); err != nil {
			return dst, err
		}
	}
	for c.operations.more() {
		if k := c.operations.key(); k.Hash != c.hash || !bytes.Equal(k.ID, c.id) {
			break
		}
		o, err := schema.SplitOperation(c.operations.row())
		if err == nil {
			err = p.apply(o)
		}
		if err != nil {
			return dst, fmt.Errorf("profile %q: %w", c.id, err)
		}
		if err := c.operations.next(); err != nil {
			return dst, err
		}
	}
	if !p.exists {
		return dst, nil
	}
	return p.append(dst), nil
}
