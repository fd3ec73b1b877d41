package identity_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// memJournal is a journal in memory. The segments have numbers from 1.
type memJournal struct {
	segments [][][]segment.Block // extents of blocks
	names    []string
	blocks   int // how many were read
}

// add seals links as a segment, in extents of blocks of a few links.
func (j *memJournal) add(tb testing.TB, name string, perBlock, perExtent int, links ...schema.Link) {
	tb.Helper()
	var extents [][]segment.Block
	for i := 0; len(links) > 0; i++ {
		if i%perExtent == 0 {
			extents = append(extents, nil)
		}
		some := links[:min(perBlock, len(links))]
		links = links[len(some):]
		var rows []byte
		for _, l := range some {
			rows = schema.AppendLink(rows, l)
		}
		b, err := segment.NewEncoder().Encode(rows, len(some), 0)
		if err != nil {
			tb.Fatal(err)
		}
		last := len(extents) - 1
		extents[last] = append(extents[last], b)
	}
	j.segments, j.names = append(j.segments, extents), append(j.names, name)
}

func (j *memJournal) seq() int64 { return int64(len(j.segments)) }

func (j *memJournal) Links(_ context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
	for seq := after + 1; seq <= min(to, j.seq()); seq++ {
		var extents []pipeline.Extent
		for i := range j.segments[seq-1] {
			extents = append(extents, pipeline.Extent{Ref: journal.ExtentRef{Seq: seq, Index: i}})
		}
		if err := fn(seq, extents); err != nil {
			return err
		}
	}
	return nil
}

func (j *memJournal) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	for _, b := range j.segments[ref.Seq-1][ref.Index] {
		j.blocks++
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

func (j *memJournal) Segment(_ context.Context, seq int64) (string, error) {
	if seq < 1 || seq > j.seq() {
		return "", nil
	}
	return j.names[seq-1], nil
}

// mappings are where generations of tests lie.
type mappings struct {
	tb    testing.TB
	store *generation.Store
}

func newMappings(tb testing.TB) *mappings {
	tb.Helper()
	store, err := disk.OpenDir(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return &mappings{tb, generation.New(store, project, batch.Identity).WithBlockSize(400)}
}

// inMemory is newMappings on a disk in memory, in few blocks.
func inMemory(tb testing.TB) *mappings {
	tb.Helper()
	store, err := disk.OpenOn(disktest.New(nil), "/blobs")
	if err != nil {
		tb.Fatal(err)
	}
	return &mappings{tb, generation.New(store, project, batch.Identity)}
}

// of reads a generation, and checks the promises that hold for each.
func (m *mappings) of(g *pipeline.Generation) map[string]string {
	m.tb.Helper()
	rows := map[string]string{}
	err := m.store.Rows(m.tb.Context(), g.Blob, func(row []byte) error {
		id, resolved, err := schema.ParseMapping(row)
		if err != nil {
			return err
		}
		if string(schema.AppendMapping(nil, id, resolved)) != string(row) {
			return fmt.Errorf("%q is spelt otherwise than rows are", row)
		}
		if _, ok := rows[id]; ok || id == resolved {
			return fmt.Errorf("%q is there twice, or stands for itself", id)
		}
		rows[id] = resolved
		return nil
	})
	if err != nil {
		m.tb.Fatal(err)
	}
	for id, resolved := range rows {
		if _, ok := rows[resolved]; ok {
			m.tb.Errorf("%q stands for %q, which stands for another", id, resolved)
		}
	}
	if int64(len(rows)) != g.Rows {
		m.tb.Errorf("%d rows, the generation says %d", len(rows), g.Rows)
	}
	return rows
}

func open(tb testing.TB, o identity.Options) *identity.Index {
	tb.Helper()
	x, err := identity.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := x.Close(); err != nil {
			tb.Error(err)
		}
	})
	return x
}

func link(device, user string) schema.Link {
	return schema.Link{AnonymousID: "$device:" + device, IdentifiedID: user, Time: firstDay, Verb: schema.VerbLink}
}

func identify(user, anonymous string) schema.Link {
	return schema.Link{AnonymousID: anonymous, IdentifiedID: user, Time: firstDay, Verb: schema.VerbIdentify}
}

func alias(id, alias string) schema.Link {
	return schema.Link{AnonymousID: alias, IdentifiedID: id, Time: firstDay, Verb: schema.VerbAlias}
}

func merge(first, second string) schema.Link {
	return schema.Link{AnonymousID: second, IdentifiedID: first, Time: firstDay, Verb: schema.VerbMerge}
}
