package generation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// smallBlock is the block size of tests, so that a few rows are many blocks.
const smallBlock = 400

func testStore(store disk.Store) *Store { return New(store, 7, batch.People).WithBlockSize(smallBlock) }

// changes are the changes of a test: rows by id, "" to remove one.
type changes struct {
	rows map[string]string
	keys []Key
	at   int
	olds map[string]string // the rows that Apply was given
}

func newChanges(rows map[string]string) *changes {
	c := &changes{rows: rows, at: -1, olds: map[string]string{}}
	for id := range rows {
		c.keys = append(c.keys, KeyOf([]byte(id)))
	}
	slices.SortFunc(c.keys, Key.Compare)
	return c
}

func (c *changes) Next(context.Context) (Key, bool, error) {
	if c.at++; c.at == len(c.keys) {
		return Key{}, false, nil
	}
	return c.keys[c.at], true, nil
}

func (c *changes) Apply(dst, old []byte) ([]byte, error) {
	id := string(c.keys[c.at].ID)
	if old != nil {
		c.olds[id] = string(old)
	}
	return append(dst, c.rows[id]...), nil
}

func row(id string, size int) string {
	return fmt.Sprintf("{\"distinct_id\":\"%s\",\"properties\":{\"p\":\"%s\"}}\n", id, strings.Repeat("x", size))
}

// rowsOf reads a generation, and compares its rows with its counts.
func rowsOf(t *testing.T, s *Store, g *pipeline.Generation) map[string]string {
	t.Helper()
	rows := map[string]string{}
	var previous Key
	err := s.Rows(t.Context(), g.Blob, func(line []byte) error {
		id, _ := idOf(line)
		k := KeyOf(bytes.Clone(id))
		if previous.ID != nil && previous.Compare(k) >= 0 {
			t.Errorf("%s comes behind %s", id, previous.ID)
		}
		previous = k
		rows[string(id)] = string(line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, line := range rows {
		size += int64(len(line))
	}
	if g.Rows != int64(len(rows)) || g.RowsBytes != size {
		t.Errorf("%d rows with %d bytes, the generation says %+v", len(rows), size, g)
	}
	var stored int64
	if err := s.Blocks(t.Context(), g.Blob, func(b journal.Block) error { stored += int64(len(b.Payload)); return nil }); err != nil {
		t.Fatal(err)
	}
	if g.Bytes != stored {
		t.Errorf("%d bytes stored, the generation says %+v", stored, g)
	}
	return rows
}

// randomChange changes some of the ids 0 to n-1: new rows, other sizes, gone.
func randomChange(r *rand.Rand, n int) map[string]string {
	change := map[string]string{}
	for range r.IntN(n) + 1 {
		id := fmt.Sprint("u", r.IntN(n))
		change[id] = row(id, r.IntN(60))
		switch r.IntN(20) {
		case 0:
			change[id] = row(id, smallBlock)
		case 1, 2, 3, 4, 5:
			change[id] = ""
		}
	}
	return change
}

func apply(rows, change map[string]string) {
	maps.Copy(rows, change)
	maps.DeleteFunc(rows, func(_, line string) bool { return line == "" })
}

// However changes are divided into updates, the same bytes are the result.
func TestTheBlobFollowsFromTheRowsAlone(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		s := testStore(mustOpen(t, disktest.New(nil)))
		rows := map[string]string{}
		var last *pipeline.Generation
		var err error
		n := 1 + r.IntN(200)
		for seq := range int64(1 + r.IntN(12)) {
			change := randomChange(r, n)
			olds := maps.Clone(rows)
			apply(rows, change)
			c := newChanges(change)
			if last, err = s.Update(t.Context(), last, seq, c); err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(olds, func(id, _ string) bool { _, changed := change[id]; return !changed })
			if diff := cmp.Diff(olds, c.olds); diff != "" {
				t.Errorf("old rows: %s", diff)
			}
			if last.Seq != seq {
				t.Errorf("%+v is said to be of %d", last, seq)
			}
		}
		if diff := cmp.Diff(rows, rowsOf(t, s, last)); diff != "" {
			t.Error(diff)
		}
		once, err := s.Update(t.Context(), nil, last.Seq, newChanges(rows))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(once, last); diff != "" {
			t.Errorf("all at once gives another generation: %s", diff)
		}
	}
}

func TestAnEmptySet(t *testing.T) {
	t.Parallel()
	s := testStore(mustOpen(t, disktest.New(nil)))
	none, err := s.Update(t.Context(), nil, 1, newChanges(nil))
	if err != nil || none.Rows != 0 || len(rowsOf(t, s, none)) != 0 {
		t.Fatalf("%+v, %v", none, err)
	}
	one, err := s.Update(t.Context(), none, 2, newChanges(map[string]string{"a": row("a", 1)}))
	if err != nil || one.Rows != 1 {
		t.Fatalf("%+v, %v", one, err)
	}
	again, err := s.Update(t.Context(), one, 3, newChanges(map[string]string{"a": "", "b": ""}))
	if err != nil || again.Blob != none.Blob || again.Seq != 3 {
		t.Errorf("%+v, %v, want the blob %s", again, err, none.Blob)
	}
}

// manyRows are some rows that make many blocks.
func manyRows() map[string]string {
	rows := map[string]string{}
	for i := range 300 {
		id := fmt.Sprint("u", i)
		rows[id] = row(id, i%50)
	}
	return rows
}

func TestBlocksThatDidNotChangeAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	system := disktest.New(nil)
	store := mustOpen(t, system)
	s := testStore(store)
	rows := manyRows()
	first, err := s.Update(t.Context(), nil, 1, newChanges(rows))
	if err != nil {
		t.Fatal(err)
	}
	before := system.Files()
	if len(before) < 40 {
		t.Fatalf("%d files are too few for this test", len(before))
	}
	script := &disktest.Script{}
	s = testStore(mustOpen(t, system.With(script)))
	next, err := s.Update(t.Context(), first, 2, newChanges(map[string]string{"u7": row("u7", 8)}))
	if err != nil || next.Blob == first.Blob {
		t.Fatal(next, err)
	}
	if more := len(system.Files()) - len(before); more != 2 {
		t.Errorf("%d files were added, want a block and a list", more)
	}
	read := 0
	for _, step := range script.Steps() {
		if strings.HasPrefix(step, "open ") {
			read++
		}
	}
	if read != 2 {
		t.Errorf("%d files were read, want a block and a list", read)
	}
	// Changes that change no row write nothing.
	script = &disktest.Script{}
	s = testStore(mustOpen(t, system.With(script)))
	same, err := s.Update(t.Context(), next, 3, newChanges(map[string]string{"u7": row("u7", 8), "gone": ""}))
	if err != nil || same.Blob != next.Blob {
		t.Errorf("%+v, %v, want the blob %s", same, err, next.Blob)
	}
	for _, step := range script.Steps() {
		if strings.HasPrefix(step, "write ") {
			t.Error(step)
		}
	}
}

func mustOpen(t *testing.T, system disk.System) *disk.Dir {
	t.Helper()
	d, err := disk.OpenOn(system, "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSweepKeepsWhatIsInUse(t *testing.T) {
	t.Parallel()
	system := disktest.New(nil)
	store := mustOpen(t, system)
	s := testStore(store)
	other := New(store, 8, batch.People)
	kept, err := other.Update(t.Context(), nil, 1, newChanges(manyRows()))
	if err != nil {
		t.Fatal(err)
	}
	rows := manyRows()
	var all []pipeline.Generation
	var want []map[string]string
	var last *pipeline.Generation
	for i := range 5 {
		change := map[string]string{}
		if i == 0 {
			change = maps.Clone(rows)
		}
		id := fmt.Sprint("u", 10*i)
		change[id] = row(id, 200)
		apply(rows, change)
		if last, err = s.Update(t.Context(), last, int64(i), newChanges(change)); err != nil {
			t.Fatal(err)
		}
		all, want = append(all, *last), append(want, maps.Clone(rows))
	}
	if err := s.Sweep(t.Context(), []pipeline.Generation{all[1], all[4], all[4]}); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if i == 1 || i == 4 {
			if diff := cmp.Diff(want[i], rowsOf(t, s, &all[i])); diff != "" {
				t.Errorf("generation %d: %s", i, diff)
			}
			continue
		}
		if err := s.Rows(t.Context(), all[i].Blob, func([]byte) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("generation %d: %v", i, err)
		}
	}
	rowsOf(t, other, kept)
	if err := s.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range system.Files() {
		if strings.Contains(name, "/7/") {
			t.Errorf("%s is left", name)
		}
	}
}

// Whatever step an update or a sweep ends at, and whichever writes that were not
// synced are lost, the generation that the catalog knows is whole, and the
// update that is done again gives the same.
func TestACrashAtAnyStep(t *testing.T) {
	t.Parallel()
	rows, change := manyRows(), map[string]string{}
	for i := range 12 {
		id := fmt.Sprint("u", 25*i)
		change[id] = row(id, 20*(i%4))
		if i%5 == 0 {
			change[id] = ""
		}
	}
	base := disktest.New(nil)
	first, err := testStore(mustOpen(t, base)).Update(t.Context(), nil, 1, newChanges(rows))
	if err != nil {
		t.Fatal(err)
	}
	start := func(script *disktest.Script) *disktest.Disk {
		return base.PowerLoss(script, func(disktest.Unsynced) bool { return true })
	}
	cycle := func(system *disktest.Disk) (*pipeline.Generation, error) {
		store, err := disk.OpenOn(system, "/blobs")
		if err != nil {
			return nil, err
		}
		s := testStore(store)
		next, err := s.Update(t.Context(), first, 2, newChanges(change))
		if err != nil {
			return nil, err
		}
		return next, s.Sweep(t.Context(), []pipeline.Generation{*first, *next})
	}
	script := &disktest.Script{}
	want, err := cycle(start(script))
	if err != nil {
		t.Fatal(err)
	}
	after := maps.Clone(rows)
	apply(after, change)
	steps := len(script.Steps())
	for n := 1; n <= steps; n++ {
		for _, fault := range []disktest.Fault{disktest.Before, disktest.After} {
			script := &disktest.Script{}
			system := start(script)
			script.FailAt(n, fault, true)
			if _, err := cycle(system); !errors.Is(err, disktest.ErrInjected) {
				t.Fatalf("step %d: %v", n, err)
			}
			for _, keep := range []bool{true, false} {
				system := system.PowerLoss(nil, func(disktest.Unsynced) bool { return keep })
				if diff := cmp.Diff(rows, rowsOf(t, testStore(mustOpen(t, system)), first)); diff != "" {
					t.Fatalf("step %d: %s", n, diff)
				}
				next, err := cycle(system)
				if err != nil || *next != *want {
					t.Fatalf("step %d: %+v, %v, want %+v", n, next, err, want)
				}
				system = system.PowerLoss(nil, func(disktest.Unsynced) bool { return false })
				if diff := cmp.Diff(after, rowsOf(t, testStore(mustOpen(t, system)), next)); diff != "" {
					t.Fatalf("step %d: %s", n, diff)
				}
			}
		}
	}
}

// Every byte of every file is covered.
func TestDamageIsNoticedAndNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := testStore(store)
	rows := map[string]string{}
	for i := range 12 {
		id := fmt.Sprint("u", i)
		rows[id] = row(id, 10*i)
	}
	g, err := s.Update(t.Context(), nil, 1, newChanges(rows))
	if err != nil {
		t.Fatal(err)
	}
	names, err := store.List(t.Context(), "generations")
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	all := map[string]string{}
	for id := range rows {
		all[id] = row(id, 3)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, damage []byte) {
			t.Helper()
			if err := os.WriteFile(path, damage, 0o600); err != nil {
				t.Fatal(err)
			}
			err := s.Blocks(t.Context(), g.Blob, func(journal.Block) error { return nil })
			if !errors.Is(err, segment.ErrDamaged) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s of %s: %v", what, name, err)
			}
			_, err = s.Update(t.Context(), g, 2, newChanges(all))
			if !errors.Is(err, segment.ErrDamaged) || !strings.Contains(err.Error(), name) {
				t.Errorf("update, %s of %s: %v", what, name, err)
			}
		}
		for i := range whole {
			damage := bytes.Clone(whole)
			damage[i] ^= 1 << (i % 8)
			check(fmt.Sprint("byte ", i), damage)
		}
		check("the end", whole[:len(whole)-1])
		check("all", nil)
		check("more", append(bytes.Clone(whole), 0))
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// disordered hands out changes in the wrong order.
type disordered struct{ *changes }

func TestWhatIsNotARowIsRefused(t *testing.T) {
	t.Parallel()
	s := testStore(mustOpen(t, disktest.New(nil)))
	for _, line := range []string{"{}\n", `{"distinct_id":"a","properties":{}}`, "{\"distinct_id\":\"a\",\"properties\":{\n", "x"} {
		if g, err := s.Update(t.Context(), nil, 1, newChanges(map[string]string{"a": line})); err == nil {
			t.Errorf("%q: %+v", line, g)
		}
	}
	wrong := newChanges(map[string]string{"a": row("a", 1), "b": row("b", 1)})
	slices.Reverse(wrong.keys)
	if g, err := s.Update(t.Context(), nil, 1, disordered{wrong}); err == nil {
		t.Errorf("changes that are not in order: %+v", g)
	}
	mistaken := newChanges(map[string]string{"a": row("b", 1), "b": row("a", 1)})
	if g, err := s.Update(t.Context(), nil, 1, mistaken); err == nil {
		t.Errorf("rows that are not in order: %+v", g)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("because")
	cancel(because)
	if _, err := s.Update(ctx, nil, 1, newChanges(manyRows())); !errors.Is(err, because) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFlagsAreThoseOfTheBlocksRows(t *testing.T) {
	t.Parallel()
	s := testStore(mustOpen(t, disktest.New(nil)))
	rows := manyRows()
	rows["u5"] = `{"distinct_id":"u5","properties":{"a":"\u0000"}}` + "\n"
	g, err := s.Update(t.Context(), nil, 1, newChanges(rows))
	if err != nil {
		t.Fatal(err)
	}
	flagged := func() (n int) {
		err := s.Blocks(t.Context(), g.Blob, func(b journal.Block) error {
			if b.Flags == batch.NUL {
				n++
			} else if b.Flags != 0 {
				t.Errorf("flags %b", b.Flags)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := flagged(); n != 1 {
		t.Errorf("%d blocks are flagged", n)
	}
	if g, err = s.Update(t.Context(), g, 2, newChanges(map[string]string{"u5": row("u5", 0)})); err != nil {
		t.Fatal(err)
	}
	if n := flagged(); n != 0 {
		t.Errorf("%d blocks are flagged", n)
	}
}
