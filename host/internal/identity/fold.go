package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Fold folds the links of the journal up to seq, if they are not folded yet.
// Links that were folded before an error stay folded.
func (x *Index) Fold(ctx context.Context, seq int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.retryRebuilt(func() error { return x.fold(ctx, seq) })
}

func (x *Index) fold(ctx context.Context, seq int64) error {
	if err := x.recognize(ctx); err != nil {
		return err
	}
	for at := x.state.Position; at.Seq < seq || at.Seq == seq && at.Extent != pipeline.EndOfSegment; at = x.state.Position {
		extents, last, err := x.next(ctx, at, seq)
		if err != nil {
			return err
		}
		if err := x.foldExtents(ctx, extents, last); err != nil {
			return fmt.Errorf("fold links up to sequence %d: %w", last, err)
		}
	}
	x.look.Lock()
	defer x.look.Unlock()
	x.whole = true
	return nil
}

// recognize empties an index that is not of this journal: the journal was restored
// to an earlier state, or is another one.
func (x *Index) recognize(ctx context.Context) error {
	at := x.state.Position
	if at.Seq == 0 {
		return nil
	}
	name, err := x.o.Journal.Segment(ctx, at.Seq)
	if err != nil || name == x.state.Segment {
		return err
	}
	x.o.Log.Warn("the identity index is of another journal; will rebuild it", "directory", x.o.Dir, "sequence", at.Seq)
	return x.reset()
}

// manyExtents is how many extents are taken at a time.
const manyExtents = 4096

// next lists extents that are not folded, and up to which sequence they are
// all.
func (x *Index) next(ctx context.Context, at position, to int64) (extents []pipeline.Extent, last int64, err error) {
	after := at.Seq
	if at.Extent != pipeline.EndOfSegment && at.Seq > 0 {
		after-- // that one is not done
	}
	last = to
	err = x.o.Journal.Links(ctx, after, to, func(seq int64, found []pipeline.Extent) error {
		if len(extents) > manyExtents {
			last = seq - 1
			return pipeline.ErrStop
		}
		extents = append(extents, found...)
		return nil
	})
	if errors.Is(err, pipeline.ErrStop) {
		err = nil
	}
	return extents, last, err
}

// foldExtents folds extents, and with them all segments up to last.
func (x *Index) foldExtents(ctx context.Context, extents []pipeline.Extent, last int64) error {
	f := x.begin()
	from := x.state.Position
	for _, e := range extents {
		f.at = position{Seq: e.Ref.Seq, Extent: e.Ref.Index}
		skip := int64(0)
		if f.at.Seq == from.Seq {
			if f.at.Extent < from.Extent {
				continue
			}
			if f.at.Extent == from.Extent {
				skip = from.Rows
			}
		}
		err := x.o.Journal.Extent(ctx, e.Ref, func(b journal.Block) error {
			if f.at.Rows+int64(b.Rows) <= skip {
				f.at.Rows += int64(b.Rows)
				return nil
			}
			return f.block(ctx, b, skip)
		})
		if err != nil {
			return err
		}
	}
	if err := f.apply(ctx); err != nil {
		return err
	}
	return f.commit(ctx, position{Seq: last, Extent: pipeline.EndOfSegment})
}

// folding is a fold under way: the links and changes that are not stored yet.
type folding struct {
	x       *Index
	at      position // after the links that were read
	links   []placed // read, and not yet in the table
	keys    []key
	table   *table
	state   state
	decoder segment.Decoder
	rows    []byte
}

// placed is a link, and the position after it.
type placed struct {
	schema.Link
	at position
}

func (x *Index) begin() *folding {
	f := &folding{x: x}
	f.renew()
	return f
}

// renew begins a batch.
func (f *folding) renew() {
	f.state = f.x.state
	f.state.Counts.Refused = maps.Clone(f.state.Counts.Refused)
	f.table = newTable(f.x.db, &f.state.Counts, f.state.Base != "" || f.state.Next != "")
}

// block reads the links of a block, without the rows up to skip of its extent,
// which were folded before.
func (f *folding) block(ctx context.Context, b journal.Block, skip int64) error {
	var err error
	if f.rows, err = f.decoder.Decode(f.rows[:0], b); err != nil {
		return err
	}
	for rest := f.rows; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		line := rest[:end]
		rest = rest[end:]
		if f.at.Rows++; f.at.Rows <= skip {
			continue
		}
		l, err := schema.ParseLink(line)
		if err != nil {
			return err
		}
		if f.links = append(f.links, placed{l, f.at}); len(f.links) >= f.x.o.Batch {
			if err := f.apply(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// manyIDs is the number of table entries for each link of a batch at which the
// changes are stored early: clusters that are joined have many ids.
const manyIDs = 8

// apply folds the links that were read.
func (f *folding) apply(ctx context.Context) error {
	if len(f.links) == 0 {
		return nil
	}
	f.keys = slices.Grow(f.keys, 2*len(f.links))
	for _, l := range f.links {
		f.keys = append(f.keys, keyOf(l.AnonymousID), keyOf(l.IdentifiedID))
	}
	err := f.table.prefetch(f.keys, f.x.o.Rules == schema.Original)
	f.keys = f.keys[:0]
	for i := 0; i < len(f.links) && err == nil; i++ {
		if err = f.link(f.links[i].Link); err == nil && f.table.size() >= manyIDs*f.x.o.Batch {
			err = f.commit(ctx, f.links[i].at)
		}
	}
	if err == nil {
		err = f.commit(ctx, f.links[len(f.links)-1].at)
	}
	f.links = f.links[:0]
	return err
}

// link folds a link.
func (f *folding) link(l schema.Link) error {
	refused, err := f.x.rules(f.table, l)
	if err != nil || refused == nil {
		return err
	}
	c := &f.state.Counts
	if c.Refused == nil {
		c.Refused = map[Reason]int64{}
	}
	c.Refused[refused.reason]++
	f.table.failures = append(f.table.failures, newFailure(c.Failures, l, refused))
	if n := int64(len(f.table.failures)); n > f.x.o.Failures {
		f.table.failures = f.table.failures[n-f.x.o.Failures:]
	}
	c.Failures++
	return nil
}

// commit stores the changes of the links up to a position, in one step.
func (f *folding) commit(ctx context.Context, at position) error {
	x := f.x
	if at.Seq != f.state.Position.Seq {
		var err error
		if f.state.Segment, err = x.o.Journal.Segment(ctx, at.Seq); err != nil {
			return err
		}
	}
	f.state.Position = at
	f.state.Later = f.state.Later || len(f.table.dirty) > 0
	b := x.db.NewBatch()
	if err := f.table.write(b, f.state.Epoch, x.o.Failures); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := x.store(b, f.state); err != nil {
		return err
	}
	crashpoint.Here("identity.folded")
	f.renew()
	return context.Cause(ctx)
}

// store applies a batch together with the state that it leads to.
func (x *Index) store(b *pebble.Batch, next state) error {
	err := x.room()
	if err == nil {
		var text []byte
		if text, err = json.Marshal(next); err == nil {
			err = b.Set(stateKey, text, nil)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store identity: %w", err), b.Close())
	}
	if err := errors.Join(x.db.Apply(b, pebble.NoSync), b.Close()); err != nil {
		return fmt.Errorf("store identity: %w", err)
	}
	x.is(next)
	return nil
}
