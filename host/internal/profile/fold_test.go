package profile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// blocksOf are operations, as a journal hands them out.
func blocksOf(t testing.TB, rows [][]byte) Blocks {
	t.Helper()
	return func(_ context.Context, fn func(journal.Block) error) error {
		encoder := segment.NewEncoder()
		for some := range slices.Chunk(rows, 50) {
			b, err := encoder.Encode(bytes.Join(some, nil), len(some), 0)
			if err != nil {
				return err
			}
			if err := fn(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// fold is a Fold on a disk, with memory for a few operations only.
func fold(t testing.TB, system disk.System, memory int) (*Fold, *generation.Store) {
	t.Helper()
	store, err := disk.OpenOn(system, "/data")
	if err != nil {
		t.Fatal(err)
	}
	generations := generation.New(store, 1, batch.People).WithBlockSize(2000)
	return New(Options{Generations: generations, Spill: store, Dir: "spill/1", Memory: memory}), generations
}

// randomRows are operations on some profiles, ids of which need escapes.
func randomRows(r *rand.Rand, n, profiles int) [][]byte {
	rows := make([][]byte, n)
	for i := range rows {
		verb, value := randomOperation(r)
		o := schema.Operation{
			DistinctID: fmt.Sprintf("u\"%d", r.IntN(profiles)), Verb: verb, Value: []byte(value),
			Time: 1780315200000 + int64(r.IntN(1e9)), LastSeen: r.IntN(2) == 0,
		}
		rows[i] = schema.AppendOperation(nil, o)
	}
	return rows
}

// apart folds each profile's operations by themselves.
func apart(t *testing.T, rows [][]byte) map[string]string {
	t.Helper()
	profiles := map[string]*profile{}
	for _, row := range rows {
		o, err := schema.SplitOperation(row)
		if err != nil {
			t.Fatal(err)
		}
		p := profiles[string(o.ID)]
		if p == nil {
			p = newProfile(Refused{})
			p.begin(bytes.Clone(o.ID))
			profiles[string(o.ID)] = p
		}
		if err := p.apply(o); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for id, p := range profiles {
		if p.exists {
			want[id] = string(p.append(nil))
		}
	}
	return want
}

func rowsOf(t *testing.T, s *generation.Store, g *pipeline.Generation) map[string]string {
	t.Helper()
	rows := map[string]string{}
	err := s.Rows(t.Context(), g.Blob, func(row []byte) error {
		id, _, err := splitRow(row)
		rows[string(id)] = string(row)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Folded at once or in parts, in memory or by sorted files, the generation has
// the same bytes, and they are those of each profile by itself.
func TestAnyDivisionGivesTheSame(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	for range 15 {
		rows := randomRows(r, r.IntN(2500), 1+r.IntN(150))
		system := disktest.New(nil)
		f, generations := fold(t, system, 1<<20)
		once, refused, err := f.Next(t.Context(), nil, 9, blocksOf(t, rows))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(apart(t, rows), rowsOf(t, generations, once)); diff != "" {
			t.Fatal(diff)
		}
		// Memory for so few operations that sorted files are merged in turn.
		f, _ = fold(t, system, 16<<10)
		var last *pipeline.Generation
		sum := Refused{}
		for rest := rows; len(rest) > 0 || last == nil; {
			n := min(len(rest), 1+r.IntN(1200))
			var some Refused
			if last, some, err = f.Next(t.Context(), last, 9, blocksOf(t, rest[:n])); err != nil {
				t.Fatal(err)
			}
			for reason, count := range some {
				sum[reason] += count
			}
			rest = rest[n:]
		}
		if diff := cmp.Diff(once, last); diff != "" {
			t.Errorf("in parts: %s", diff)
		}
		if diff := cmp.Diff(refused, sum); diff != "" {
			t.Errorf("refused, in parts: %s", diff)
		}
		if left := slices.DeleteFunc(system.Files(), func(name string) bool { return !strings.Contains(name, "spill") }); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	}
}

// Whatever step a fold ends at, the one that is done again gives the same.
func TestACrashAtAnyStep(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 14))
	before, rows := randomRows(r, 300, 60), randomRows(r, 330, 60)
	base := disktest.New(nil)
	f, _ := fold(t, base, 1<<20)
	first, _, err := f.Next(t.Context(), nil, 1, blocksOf(t, before))
	if err != nil {
		t.Fatal(err)
	}
	start := func(script *disktest.Script) *disktest.Disk {
		return base.PowerLoss(script, func(disktest.Unsynced) bool { return true })
	}
	script := &disktest.Script{}
	f, generations := fold(t, start(script), 12<<10)
	opened := len(script.Steps())
	want, _, err := f.Next(t.Context(), first, 2, blocksOf(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(apart(t, slices.Concat(before, rows)), rowsOf(t, generations, want)); diff != "" {
		t.Fatal(diff)
	}
	steps := len(script.Steps())
	if !slices.ContainsFunc(script.Steps(), func(step string) bool {
		return strings.HasPrefix(step, "write") && strings.Contains(step, "000009.run")
	}) {
		t.Error("too little is spilled for this test")
	}
	for n := opened + 1; n <= steps; n += 1 + steps/150 {
		for _, keep := range []bool{true, false} {
			script := &disktest.Script{}
			system := start(script)
			f, _ := fold(t, system, 12<<10)
			script.FailAt(n, disktest.Before, true)
			if g, _, err := f.Next(t.Context(), first, 2, blocksOf(t, rows)); err == nil {
				// The test's own reads were counted, too.
				if *g != *want {
					t.Fatalf("step %d: %+v, want %+v", n, g, want)
				}
				continue
			}
			f, generations := fold(t, system.PowerLoss(nil, func(disktest.Unsynced) bool { return keep }), 12<<10)
			if diff := cmp.Diff(apart(t, before), rowsOf(t, generations, first)); diff != "" {
				t.Fatalf("step %d: %s", n, diff)
			}
			next, _, err := f.Next(t.Context(), first, 2, blocksOf(t, rows))
			if err != nil || *next != *want {
				t.Fatalf("step %d: %+v, %v, want %+v", n, next, err, want)
			}
		}
	}
}

func TestRefusedChangesAreCounted(t *testing.T) {
	t.Parallel()
	f, generations := fold(t, disktest.New(nil), 1<<20)
	var rows [][]byte
	for i, o := range []schema.Operation{
		{DistinctID: "a", Verb: schema.Set, Value: []byte(`{"x":"y"}`)},
		{DistinctID: "b", Verb: schema.Add, Value: []byte(`{"x":1}`)},
		{DistinctID: "a", Verb: schema.Add, Value: []byte(`{"x":1,"z":2}`)},
		{DistinctID: "b", Verb: schema.Add, Value: []byte(`{"x":1e9999}`)},
		{DistinctID: "a", Verb: schema.Add, Value: []byte(`{"x":1}`)},
	} {
		o.Time = int64(i)
		rows = append(rows, schema.AppendOperation(nil, o))
	}
	g, refused, err := f.Next(t.Context(), nil, 1, blocksOf(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Refused{NotANumber: 2, NumberOutOfRange: 1}, refused); diff != "" {
		t.Error(diff)
	}
	want := map[string]string{
		"a": `{"distinct_id":"a","properties":{"x":"y","z":2}}` + "\n",
		"b": `{"distinct_id":"b","properties":{"x":1}}` + "\n",
	}
	if diff := cmp.Diff(want, rowsOf(t, generations, g)); diff != "" {
		t.Error(diff)
	}
}

func TestAFoldThatCannotGoOn(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(15, 16))
	system := disktest.New(nil)
	f, _ := fold(t, system, 12<<10)
	broken := errors.New("broken")
	rows := randomRows(r, 400, 50)
	_, _, err := f.Next(t.Context(), nil, 1, func(ctx context.Context, fn func(journal.Block) error) error {
		return errors.Join(blocksOf(t, rows)(ctx, fn), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	_, _, err = f.Next(t.Context(), nil, 1, blocksOf(t, [][]byte{[]byte("{}\n")}))
	if err == nil {
		t.Error("a row without an operation was folded")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, _, err = f.Next(ctx, nil, 1, func(ctx context.Context, fn func(journal.Block) error) error {
		defer cancel(broken)
		return blocksOf(t, rows)(ctx, fn)
	}); !errors.Is(err, broken) {
		t.Errorf("cancelled: %v", err)
	}
	if left := system.Files(); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// Sorted files whose bytes have changed are noticed.
func TestADamagedRun(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(17, 18))
	system := disktest.New(nil)
	store, err := disk.OpenOn(system, "/data")
	if err != nil {
		t.Fatal(err)
	}
	s := newSorter(store, "spill", 1<<20)
	if err := s.addAll(t.Context(), blocksOf(t, randomRows(r, 20, 5))); err != nil {
		t.Fatal(err)
	}
	if err := s.spill(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := s.runs[0].name
	f, err := store.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, f.Size())
	if _, err := f.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) error {
		w, err := store.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		return s.sorted(t.Context(), func(m *merge) error {
			for m.more() {
				if err := m.next(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damage := bytes.Clone(whole)
		damage[i] ^= 1 << (i % 8)
		if err := read(damage); err == nil {
			t.Errorf("byte %d", i)
		}
	}
	if err := read(whole[:len(whole)-1]); err == nil {
		t.Error("the end is missing")
	}
}

// Sorting keeps all rows, and the order of those of one profile.
func TestSort(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(19, 20))
	for _, memory := range []int{8 << 10, 64 << 10, 1 << 20} {
		rows := randomRows(r, 3000, 40)
		store, err := disk.OpenOn(disktest.New(nil), "/data")
		if err != nil {
			t.Fatal(err)
		}
		s := newSorter(store, "spill", memory)
		if err := s.addAll(t.Context(), blocksOf(t, rows)); err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{}
		for _, row := range rows {
			o, err := schema.SplitOperation(row)
			if err != nil {
				t.Fatal(err)
			}
			want[string(o.ID)] = append(want[string(o.ID)], string(row))
		}
		got := map[string][]string{}
		var ids []generation.Key
		err = s.sorted(t.Context(), func(m *merge) error {
			for m.more() {
				k := m.key()
				id := string(k.ID)
				if len(ids) == 0 || string(ids[len(ids)-1].ID) != id {
					ids = append(ids, generation.KeyOf([]byte(id)))
				}
				got[id] = append(got[id], string(m.row()))
				if err := m.next(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if !slices.IsSortedFunc(ids, generation.Key.Compare) || len(ids) != len(slices.Collect(maps.Keys(want))) {
			t.Errorf("memory %d: profiles are not in order", memory)
		}
	}
}
