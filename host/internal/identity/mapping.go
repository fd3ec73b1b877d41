package identity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// ErrNoMappings says that the project's rules know no mappings.
var ErrNoMappings = errors.New("a project with legacy identity has no identity mappings")

// Generation folds the links of the journal up to seq, if they are not folded
// yet, and makes the generation of mappings that follows last, the latest one; nil
// if there is none. The new generation is durable, but the catalog does not name
// it: the caller makes it the latest.
func (x *Index) Generation(ctx context.Context, store *generation.Store, last *pipeline.Generation, seq int64) (*pipeline.Generation, error) {
	if x.o.Rules == schema.Legacy {
		return nil, ErrNoMappings
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var next *pipeline.Generation
	err := x.retryRebuilt(func() error {
		// The stored changes are settled before the fold adds more.
		if err := x.settle(last); err != nil {
			return err
		}
		if err := x.fold(ctx, seq); err != nil {
			return err
		}
		var err error
		next, err = x.update(ctx, store, last)
		return err
	})
	return next, err
}

// settle finds out to which generation the stored changes are relative, now
// that the latest one is known. Those that are relative to none are dropped, and
// every mapping is written.
func (x *Index) settle(last *pipeline.Generation) error {
	next := x.state
	b := x.db.NewBatch()
	var err error
	switch {
	case last != nil && last.Blob == next.Next:
		next.Base, next.Next = next.Next, ""
		err = x.dropChanges(b)
	case last != nil && last.Blob == next.Base:
		return b.Close()
	default:
		next.Base, next.Next, next.Later = "", "", false
		err = b.DeleteRange([]byte{spaceChange}, []byte{spaceChange + 1}, nil)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("drop changes of mappings: %w", err), b.Close())
	}
	return x.store(b, next)
}

// dropChanges drops the changes of earlier epochs.
func (x *Index) dropChanges(b *pebble.Batch) error {
	from, to := []byte{spaceChange}, []byte{spaceChange + 1}
	if !x.state.Later {
		return b.DeleteRange(from, to, nil)
	}
	stored, err := x.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := stored.First(); ok && err == nil; ok = stored.Next() {
		if epoch, _ := binary.Uvarint(stored.Value()); epoch < x.state.Epoch {
			err = b.Delete(stored.Key(), nil)
		}
	}
	return errors.Join(err, stored.Error(), stored.Close())
}

// update makes the generation of the folded links.
func (x *Index) update(ctx context.Context, store *generation.Store, last *pipeline.Generation) (*pipeline.Generation, error) {
	c := &changes{table: newTable(x.db, &counts{}, false), rules: x.o.Rules, all: x.state.Base == ""}
	if c.all {
		last = nil
	}
	space := byte(spaceChange)
	if c.all {
		space = spaceIDs
	}
	var err error
	if c.stored, err = x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}}); err != nil {
		return nil, fmt.Errorf("read mappings: %w", err)
	}
	made, err := store.Update(ctx, last, x.state.Position.Seq, c)
	if err = errors.Join(err, c.stored.Error(), c.stored.Close()); err != nil {
		return nil, err
	}
	crashpoint.Here("identity.generation")
	next := x.state
	next.Next, next.Later = made.Blob, false
	next.Epoch++
	if err := x.store(x.db.NewBatch(), next); err != nil {
		return nil, err
	}
	// Once the generation is the latest, an index that does not know it would
	// write every mapping again.
	if err := x.db.Flush(); err != nil {
		return nil, fmt.Errorf("store identity: %w", err)
	}
	crashpoint.Here("identity.flushed")
	return made, nil
}

// changes are mappings that differ from those of a generation, or all.
type changes struct {
	table    *table
	rules    schema.Identity
	stored   *pebble.Iterator
	all      bool
	begun    bool
	id       key
	resolved string // the target that the id stands for; "": itself
}

// Next implements generation.Changes.
func (c *changes) Next(context.Context) (generation.Key, bool, error) {
	for {
		more := false
		if c.begun {
			more = c.stored.Next()
		} else {
			more, c.begun = c.stored.First(), true
		}
		if !more {
			return generation.Key{}, false, c.stored.Error()
		}
		stored := c.stored.Key()[1:]
		if len(stored) < hashSize {
			return generation.Key{}, false, damaged("the key of an id has %d bytes", len(stored))
		}
		c.id = key(stored)
		if err := c.resolve(); err != nil {
			return generation.Key{}, false, err
		}
		if c.resolved != "" || !c.all {
			return generation.Key{Hash: binary.BigEndian.Uint64(stored), ID: stored[hashSize:]}, true, nil
		}
	}
}

// resolve finds the target that the id stands for.
func (c *changes) resolve() (err error) {
	value := ""
	if c.all {
		value = string(c.stored.Value())
	} else {
		clear(c.table.ids)
		if value, _, err = c.table.get(c.id); err != nil {
			return err
		}
	}
	if c.rules == schema.Original && value != "" {
		if len(value) < numberSize {
			return damaged("the number of an id's cluster has %d bytes", len(value))
		}
		if value = value[numberSize:]; value == c.id.id() {
			value = ""
		}
	}
	c.resolved = value
	return nil
}

// Apply implements generation.Changes.
func (c *changes) Apply(dst, _ []byte) ([]byte, error) {
	if c.resolved == "" {
		return dst, nil
	}
	dst = append(append(dst, `{"distinct_id":"`...), c.id.id()...)
	dst = append(append(dst, `","resolved_distinct_id":"`...), c.resolved...)
	return append(dst, "\"}\n"...), nil
}
