package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

var sealedAt = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newSeal(seq int64, moves ...journal.CursorMove) journal.Seal {
	blob := fmt.Sprintf("segments/%d/%016x.seg", project, seq)
	return journal.Seal{Segment: journal.Segment{Project: project, Seq: seq, Blob: blob, Size: 1000, SealedAt: sealedAt}, Keys: 10, Cursors: moves}
}

// commit announces and commits a seal.
func commit(ctx context.Context, c *Catalog, seal journal.Seal) error {
	if err := c.InsertPending(ctx, project, seal.Blob, time.Hour); err != nil {
		return err
	}
	return c.CommitSeal(ctx, seal)
}

func mustCommit(t *testing.T, c *Catalog, seal journal.Seal) {
	t.Helper()
	if err := commit(t.Context(), c, seal); err != nil {
		t.Fatal(err)
	}
}

// state holds the parts of the catalog that a seal changes.
type state struct {
	seq, segments, runs, pending int64
	cursors                      string
}

func stateOf(t *testing.T, c *Catalog) state {
	t.Helper()
	s := state{
		seq:      count(t, c, `SELECT seq FROM projects WHERE id = ?`, project),
		segments: count(t, c, `SELECT COUNT(*) FROM segments`),
		runs:     count(t, c, `SELECT COUNT(*) FROM key_runs`),
		pending:  count(t, c, `SELECT COUNT(*) FROM pending`),
	}
	for _, source := range []string{"files.a", "files.b"} {
		cursors, err := c.Cursors(t.Context(), project, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, position := range slices.Sorted(maps.Keys(cursors)) {
			s.cursors += fmt.Sprintf("%s %s=%q ", source, position, cursors[position])
		}
	}
	return s
}

// Cursors move by compare-and-set. If one cursor of a seal cannot move, the seal
// changes nothing.
func TestCursorsMoveFromWhereTheyStand(t *testing.T) {
	move := func(source, position string, from, to []byte) journal.CursorMove {
		return journal.CursorMove{Source: source, Position: position, From: from, To: to}
	}
	at := func(n string) []byte { return []byte(n) }
	conflict := &journal.CursorConflictError{Source: "files.a", Position: "x"}
	tests := []struct {
		name  string
		moves []journal.CursorMove // from x at 1, y at 5
		want  string
		err   *journal.CursorConflictError
	}{
		{"none", nil, `files.a x="1" files.a y="5" `, nil},
		{"as seen", []journal.CursorMove{move("files.a", "x", at("1"), at("2"))}, `files.a x="2" files.a y="5" `, nil},
		{"to where it stands", []journal.CursorMove{move("files.a", "x", at("1"), at("1"))}, `files.a x="1" files.a y="5" `, nil},
		{"two at once", []journal.CursorMove{move("files.a", "x", at("1"), at("2")), move("files.a", "y", at("5"), at("6"))}, `files.a x="2" files.a y="6" `, nil},
		{"a new position", []journal.CursorMove{move("files.a", "z", nil, at("1"))}, `files.a x="1" files.a y="5" files.a z="1" `, nil},
		{"another source", []journal.CursorMove{move("files.b", "x", nil, at("1"))}, `files.a x="1" files.a y="5" files.b x="1" `, nil},
		{"to nothing", []journal.CursorMove{move("files.a", "x", at("1"), []byte{})}, `files.a x="" files.a y="5" `, nil},
		{"moved by another reader", []journal.CursorMove{move("files.a", "x", at("0"), at("2"))}, "", conflict},
		{"a prefix of it", []journal.CursorMove{move("files.a", "x", at(""), at("2"))}, "", conflict},
		{"longer than it", []journal.CursorMove{move("files.a", "x", at("10"), at("2"))}, "", conflict},
		{"made by another reader", []journal.CursorMove{move("files.a", "x", nil, at("2"))}, "", conflict},
		{"removed by another reader", []journal.CursorMove{move("files.b", "x", at("1"), at("2"))}, "", &journal.CursorConflictError{Source: "files.b", Position: "x"}},
		{"only the second", []journal.CursorMove{move("files.a", "y", at("5"), at("6")), move("files.a", "x", at("0"), at("2"))}, "", conflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCatalog(t)
			mustCommit(t, c, newSeal(1, move("files.a", "x", nil, at("1")), move("files.a", "y", nil, at("5"))))
			seal := newSeal(2, tt.moves...)
			if err := c.InsertPending(t.Context(), project, seal.Blob, time.Hour); err != nil {
				t.Fatal(err)
			}
			before := stateOf(t, c)
			err := c.CommitSeal(t.Context(), seal)
			after := stateOf(t, c)
			if tt.err != nil {
				var got *journal.CursorConflictError
				if !errors.As(err, &got) || *got != *tt.err {
					t.Errorf("got %v, want %v", err, tt.err)
				}
				if after != before {
					t.Errorf("a seal that was refused has left %+v, before it was %+v", after, before)
				}
				return
			}
			if want := (state{seq: 2, segments: 2, runs: 2, cursors: tt.want}); err != nil || after != want {
				t.Errorf("got %+v, %v; want %+v", after, err, want)
			}
		})
	}
}

func TestASealIsRefusedWhole(t *testing.T) {
	tests := []struct {
		name    string
		seal    journal.Seal
		prepare func(t *testing.T, c *Catalog, seal journal.Seal)
		want    error
	}{
		{"another seal came in between", newSeal(1), nil, journal.ErrSequenceMoved},
		{"a seal is left out", newSeal(3), nil, journal.ErrSequenceMoved},
		{"it was swept", newSeal(2), func(t *testing.T, c *Catalog, seal journal.Seal) {
			if dropped, err := c.DropPending(t.Context(), seal.Blob); !dropped || err != nil {
				t.Fatal(dropped, err)
			}
		}, journal.ErrPendingGone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCatalog(t)
			mustCommit(t, c, newSeal(1))
			tt.seal.Blob = "segments/7/other.seg"
			tt.seal.Cursors = []journal.CursorMove{{Source: "files.a", Position: "x", To: []byte("1")}}
			if err := c.InsertPending(t.Context(), project, tt.seal.Blob, time.Hour); err != nil {
				t.Fatal(err)
			}
			if tt.prepare != nil {
				tt.prepare(t, c, tt.seal)
			}
			before := stateOf(t, c)
			if err := c.CommitSeal(t.Context(), tt.seal); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if after := stateOf(t, c); after != before {
				t.Errorf("it has left %+v, before it was %+v", after, before)
			}
		})
	}
}

// Many seals of one sequence race in two processes: one of them succeeds.
func TestOneOfManySealsIsMade(t *testing.T) {
	c := pair(t)
	for seq := int64(1); seq <= 5; seq++ {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			seal := newSeal(seq)
			seal.Blob = fmt.Sprintf("segments/7/%d-%d.seg", seq, i)
			wg.Go(func() { errs[i] = commit(t.Context(), c[i%2], seal) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, journal.ErrSequenceMoved) {
				t.Error(err)
			}
		}
		if made != 1 {
			t.Fatalf("%d seals were made", made)
		}
		if got, err := c[1].Sequence(t.Context(), project); err != nil || got != seq {
			t.Fatalf("sequence %d, %v", got, err)
		}
	}
}

// An announcement ends by the catalog's clock, or when its process is known to be
// gone.
func TestAnnouncementsExpire(t *testing.T) {
	c := pair(t)
	for _, p := range []struct {
		catalog *Catalog
		blob    string
		ttl     time.Duration
	}{
		{c[0], "segments/7/mine.seg", time.Hour},
		{c[0], "segments/7/mine-hung.seg", -time.Second},
		{c[1], "segments/7/other.seg", time.Hour},
		{c[1], "segments/7/other-hung.seg", -time.Second},
	} {
		if err := p.catalog.InsertPending(t.Context(), project, p.blob, p.ttl); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		got, err := c[0].ExpiredPending(t.Context(), project)
		if err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("expired are %q, %v; want %q", got, err, want)
		}
	}
	check("segments/7/mine-hung.seg", "segments/7/other-hung.seg")
	if err := c[0].ExpirePending(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("segments/7/mine-hung.seg", "segments/7/other-hung.seg", "segments/7/other.seg")
	for _, want := range []bool{true, false} {
		if dropped, err := c[1].DropPending(t.Context(), "segments/7/other.seg"); dropped != want || err != nil {
			t.Errorf("dropped %t, %v; want %t", dropped, err, want)
		}
	}
	check("segments/7/mine-hung.seg", "segments/7/other-hung.seg")
	if got, err := c[0].Pending(t.Context(), project); err != nil || len(got) != 3 {
		t.Errorf("announced are %q, %v", got, err)
	}
	if got, err := c[0].Pending(t.Context(), project+1); err != nil || len(got) != 0 {
		t.Errorf("another project's are %q, %v", got, err)
	}
}

func TestRunsOfKeysAreReplacedAtOnce(t *testing.T) {
	c := newCatalog(t)
	var old []keys.Run
	for seq := int64(1); seq <= 4; seq++ {
		seal := newSeal(seq)
		mustCommit(t, c, seal)
		old = append(old, keys.Run{Blob: seal.Blob, From: seq, To: seq, Keys: 10})
	}
	merged := keys.Run{Blob: "keys/7/merged.seg", From: 2, To: 4, Keys: 30}
	listed := func(want ...keys.Run) {
		t.Helper()
		if got, err := c.KeyRuns(t.Context(), project); err != nil || !slices.Equal(got, want) {
			t.Errorf("runs are %+v, %v; want %+v", got, err, want)
		}
	}
	if err := c.ReplaceKeyRuns(t.Context(), project, old[1:], merged); !errors.Is(err, journal.ErrPendingGone) {
		t.Errorf("not announced: %v", err)
	}
	listed(old...)
	if err := c.InsertPending(t.Context(), project, merged.Blob, time.Hour); err != nil {
		t.Fatal(err)
	}
	gone := []keys.Run{old[1], {Blob: "keys/7/gone.seg", From: 3, To: 4}}
	if err := c.ReplaceKeyRuns(t.Context(), project, gone, merged); !errors.Is(err, journal.ErrRunsMoved) {
		t.Errorf("a run that is gone: %v", err)
	}
	listed(old...)
	if err := c.ReplaceKeyRuns(t.Context(), project, old[1:], merged); err != nil {
		t.Error(err)
	}
	listed(old[0], merged)
	if n := count(t, c, `SELECT COUNT(*) FROM pending`); n != 0 {
		t.Errorf("%d announcements are left", n)
	}
}

// A seal stays on the list until its record is confirmed, with its cursors.
func TestSealsWithoutARecordAreListed(t *testing.T) {
	c := newCatalog(t)
	moves := []journal.CursorMove{{Source: "files.a", Position: "x", To: []byte{0, 255, '"'}}}
	mustCommit(t, c, newSeal(1, moves...))
	mustCommit(t, c, newSeal(2))
	listed, err := c.Unrecorded(t.Context(), project)
	if err != nil || len(listed) != 2 || listed[0].Seq != 1 || listed[1].Seq != 2 || listed[0].Blob != newSeal(1).Blob ||
		listed[0].Size != 1000 || !listed[0].SealedAt.Equal(sealedAt) {
		t.Fatalf("got %+v, %v", listed, err)
	}
	if got := listed[0].Cursors; len(got) != 1 || got[0].Source != "files.a" || string(got[0].To) != string(moves[0].To) {
		t.Errorf("cursors are %+v", got)
	}
	if err := c.MarkRecorded(t.Context(), project, 1); err != nil {
		t.Fatal(err)
	}
	if listed, err := c.Unrecorded(t.Context(), project); err != nil || len(listed) != 1 || listed[0].Seq != 2 {
		t.Errorf("got %+v, %v", listed, err)
	}
}

func randomExtents(r *rand.Rand) []journal.Extent {
	extents := make([]journal.Extent, r.IntN(50))
	for i := range extents {
		day := journal.Day(r.IntN(60000) - 20000)
		extents[i] = journal.Extent{
			Partition: journal.Partition{Kind: journal.Kind(1 + r.IntN(3)), UTCDate: day, ZoneDate: day + journal.Day(r.IntN(3)-1)},
			Rows:      r.Int64N(1e6), RowsBytes: r.Int64N(1e12), Bytes: r.Int64N(1e12), Blocks: r.Int64N(1e6),
			MinTime: r.Int64N(1e10) - 5e9, MaxTime: r.Int64N(1e10) - 5e9,
		}
	}
	return extents
}

// ExtentsOutside visits the segments that have dates outside a range, and no others.
func TestExtentsOutside(t *testing.T) {
	c := newCatalog(t)
	for i, days := range [][]journal.Day{{9}, {10}, {10, 20}, {20, 21}, {9, 15, 25}, {15}, {30}} {
		seal := newSeal(int64(i) + 1)
		seal.Extents = nil
		for _, day := range days {
			seal.Extents = append(seal.Extents, journal.Extent{Partition: journal.Partition{Kind: journal.KindEvents, UTCDate: day, ZoneDate: day}, Rows: 1, Bytes: 1, Blocks: 1})
		}
		mustCommit(t, c, seal)
	}
	var got []string
	err := c.ExtentsOutside(t.Context(), project, journal.KindEvents, 1, 6, 10, 20, func(seq int64, extents []pipeline.Extent) error {
		got = append(got, fmt.Sprintf("%d: %d", seq, len(extents)))
		return nil
	})
	if want := []string{"4: 2", "5: 3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("segments and extents %q, %v; want %q", got, err, want)
	}
}

// Segments and Extents return the segments and extents of the seals.
func TestSegmentsAreThoseOfTheSeals(t *testing.T) {
	c := newCatalog(t)
	r := rand.New(rand.NewPCG(1, 11))
	var seals []journal.Seal
	for seq := range int64(20) {
		seal := newSeal(seq + 1)
		seal.Extents = randomExtents(r)
		seals = append(seals, seal)
		mustCommit(t, c, seal)
	}
	i := 0
	err := c.Segments(t.Context(), project, func(s journal.Segment) error {
		want := seals[i].Segment
		if s.Seq != want.Seq || s.Blob != want.Blob || s.Size != want.Size || !s.SealedAt.Equal(want.SealedAt) || !slices.Equal(s.Extents, want.Extents) {
			t.Errorf("segment %d is %+v, want %+v", i, s, want)
		}
		i++
		return nil
	})
	if err != nil || i != len(seals) {
		t.Errorf("%d segments, %v", i, err)
	}
	const after, to = 3, 15
	var got, want []pipeline.Extent
	err = c.Extents(t.Context(), project, journal.KindProfiles, after, to, func(_ int64, extents []pipeline.Extent) error {
		got = append(got, extents...)
		return nil
	})
	for _, s := range seals[after:to] {
		for i, e := range s.Extents {
			if e.Kind == journal.KindProfiles {
				want = append(want, pipeline.Extent{
					Ref: journal.ExtentRef{Seq: s.Seq, Index: i}, UTCDate: e.UTCDate, ZoneDate: e.ZoneDate, Rows: e.Rows, RowsBytes: e.RowsBytes, Bytes: e.Bytes,
					SealedAt: s.SealedAt.UTC().Truncate(time.Millisecond),
				})
			}
		}
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d extents, %v; want %d", len(got), err, len(want))
	}
	blob, err := c.Blob(t.Context(), project, 5)
	if err != nil || blob != seals[4].Blob {
		t.Errorf("got %s, %v", blob, err)
	}
	if _, err := c.Blob(t.Context(), project, 21); err == nil {
		t.Error("a segment that is not there has a blob")
	}
	if blobs, err := c.Blobs(t.Context(), project); err != nil || len(blobs) != len(seals) {
		t.Errorf("%d blobs, %v", len(blobs), err)
	}
}

func TestADamagedListIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 11))
	packed := packSegment(randomExtents(r))
	for n := range len(packed) {
		if _, err := unpackSegment(nil, packed[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken for a list", n, len(packed))
		}
	}
	run := packExtents([]pipeline.Extent{{Ref: journal.ExtentRef{Seq: 1 << 40, Index: 5}, UTCDate: -5, ZoneDate: -6, Rows: 1, RowsBytes: 1 << 50, Bytes: 1 << 40}})
	for n := range len(run) {
		if _, err := unpackExtents(run[:n]); err == nil {
			t.Errorf("%d bytes of %d are taken for a list", n, len(run))
		}
	}
	huge := []byte{255, 255, 255, 255, 255, 255, 255, 255, 127}
	if _, err := unpackExtents(huge); err == nil {
		t.Error("a list of 2^62 extents is taken")
	}
	if _, err := unpackSegment(nil, huge); err == nil {
		t.Error("a list of 2^62 extents is taken")
	}
}
