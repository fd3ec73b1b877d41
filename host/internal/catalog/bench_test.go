package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// BenchmarkPlan plans runs over a journal of 10,000 segments of 30 extents:
// live, a run of 1 GiB of rows that were journaled since; all, a run without a limit
// of bytes; backfill, a run of 1 GiB of the first days, for which every
// segment is looked at.
func BenchmarkPlan(b *testing.B) {
	const segments, extents = 10_000, 30
	c, err := Open(b.Context(), filepath.Join(b.TempDir(), "catalog.db"), "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.RegisterProject(b.Context(), 1, "shop", "UTC"); err != nil {
		b.Fatal(err)
	}
	first := journal.Day(20000)
	err = c.Update(b.Context(), func(tx *sql.Tx) error {
		for seq := range int64(segments) {
			seal := journal.Seal{Segment: journal.Segment{Project: 1, Seq: seq + 1, Blob: fmt.Sprintf("segments/1/%016x.seg", seq), Size: 3 << 20}}
			for i := range extents {
				// A seal holds a month of late data, and seals move on by a day every 50.
				day := first + journal.Day(int(seq)/50+i)
				seal.Extents = append(seal.Extents, journal.Extent{
					Partition: journal.Partition{Kind: journal.KindEvents, UTCDate: day, ZoneDate: day}, Rows: 1000, RowsBytes: 760_000, Bytes: 100_000,
					Blocks: 1, MinTime: day.Time().Unix(), MaxTime: day.Time().Unix() + 86399,
				})
			}
			if err := insertSeal(b.Context(), tx, seal, true); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(b.Context(), `UPDATE projects SET seq = ?`, segments)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	visit := func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
		return c.Extents(ctx, 1, journal.KindEvents, after, to, fn)
	}
	for _, plan := range []struct {
		name  string
		bytes int64
		cut   int64 // how much of the journal is backfill
		want  int
	}{
		{"live", 1 << 30, 0, 10737},
		{"all", math.MaxInt64, 0, pipeline.DefaultMaxExtents},
		{"backfill", 1 << 30, segments, 10737},
	} {
		b.Run(plan.name, func(b *testing.B) {
			for b.Loop() {
				p := &pipeline.Pipeline{
					Definition: pipeline.Definition{Name: "p", ProjectID: 1, From: first, To: first + 1000},
					Cursor:     pipeline.Cursor{Cut: plan.cut, BackfillDone: plan.cut == 0, Live: pipeline.Position{Seq: plan.cut, Index: pipeline.EndOfSegment}},
				}
				taken, _, err := pipeline.Next(b.Context(), p, pipeline.Limits{Bytes: plan.bytes}, segments, visit)
				if err != nil || len(taken) != plan.want {
					b.Fatal(len(taken), err)
				}
			}
		})
	}
}
