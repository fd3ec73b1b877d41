package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// modelRun is a run with the keys that it should hold.
type modelRun struct {
	Run
	days map[segment.Day]map[segment.Key]bool
}

// model is a set with the runs that it should hold.
type model struct {
	t     *testing.T
	r     *rand.Rand
	disk  *disktest.Disk
	store *disk.Dir
	set   *Set
	runs  []modelRun
	blobs int
	pool  []segment.Key // keys that have been made, to be met again
}

func newModel(t *testing.T, seed uint64, budget int64) *model {
	t.Helper()
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 10)), disk: disktest.New(nil)}
	var err error
	if m.store, err = disk.OpenOn(m.disk, "/blobs"); err != nil {
		t.Fatal(err)
	}
	m.set = NewSet(m.store, budget)
	return m
}

// key makes a key. Some differ only in the half that pages are not indexed by.
func (m *model) key() segment.Key {
	var k segment.Key
	high := m.r.Uint64()
	if m.r.IntN(4) == 0 {
		high = uint64(m.r.IntN(6)) << 61
	}
	binary.LittleEndian.PutUint64(k[:8], high)
	binary.LittleEndian.PutUint64(k[8:], m.r.Uint64())
	m.pool = append(m.pool, k)
	return k
}

// known is a key that was made before.
func (m *model) known() segment.Key {
	if len(m.pool) == 0 {
		return m.key()
	}
	return m.pool[m.r.IntN(len(m.pool))]
}

func (m *model) blob() string {
	m.blobs++
	return fmt.Sprintf("keys/7/%d.seg", m.blobs)
}

// seal writes a run of new keys, and of some that are there already, as after
// an old day was pulled again.
func (m *model) seal(perDay int, days ...segment.Day) modelRun {
	m.t.Helper()
	seq := int64(1)
	if len(m.runs) > 0 {
		seq = m.runs[len(m.runs)-1].To + 1
	}
	run := modelRun{Run: Run{Blob: m.blob(), From: seq, To: seq}, days: map[segment.Day]map[segment.Key]bool{}}
	for _, day := range days {
		run.days[day] = map[segment.Key]bool{}
		for range m.r.IntN(perDay) + 1 {
			key := m.key()
			if m.r.IntN(10) == 0 {
				key = m.known()
			}
			run.days[day][key] = true
		}
		run.Keys += int64(len(run.days[day]))
	}
	m.write(run)
	return run
}

// write writes a run's blob.
func (m *model) write(run modelRun) {
	m.t.Helper()
	w, err := m.store.Create(m.t.Context(), run.Blob)
	if err != nil {
		m.t.Fatal(err)
	}
	b := segment.NewBuilder(w)
	for _, day := range sortedDays(run.days) {
		for part := range slices.Chunk(sortedKeys(run.days[day]), segment.SectionKeys) {
			b.Keys(day, part)
		}
	}
	if _, _, err := b.Finish(); err != nil {
		m.t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		m.t.Fatal(err)
	}
}

func sortedDays(days map[segment.Day]map[segment.Key]bool) []segment.Day {
	var all []segment.Day
	for day := range days {
		all = append(all, day)
	}
	slices.Sort(all)
	return all
}

func sortedKeys(set map[segment.Key]bool) []segment.Key {
	all := make([]segment.Key, 0, len(set))
	for key := range set {
		all = append(all, key)
	}
	slices.SortFunc(all, segment.Key.Compare)
	return all
}

func (m *model) add(run modelRun) {
	m.t.Helper()
	if err := m.set.Add(m.t.Context(), run.Run); err != nil {
		m.t.Fatal(err)
	}
	m.runs = append(m.runs, run)
}

// merge merges runs as the journal does: those that are due, or some others.
func (m *model) merge(due []Run) {
	m.t.Helper()
	merged, err := m.set.Merge(m.t.Context(), due, m.blob())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.set.Replace(m.t.Context(), due, merged); err != nil {
		m.t.Fatal(err)
	}
	m.replace(due, merged)
	for _, old := range due {
		if err := m.store.Delete(m.t.Context(), old.Blob); err != nil {
			m.t.Fatal(err)
		}
	}
}

// replace merges runs of the model.
func (m *model) replace(due []Run, merged Run) {
	m.t.Helper()
	union := modelRun{Run: merged, days: map[segment.Day]map[segment.Key]bool{}}
	var keys int64
	at := slices.IndexFunc(m.runs, func(r modelRun) bool { return r.Run == due[0] })
	for i, run := range m.runs[at : at+len(due)] {
		if run.Run != due[i] {
			m.t.Fatalf("runs that are due do not follow one another: %+v", due)
		}
		for day, set := range run.days {
			if union.days[day] == nil {
				union.days[day] = map[segment.Key]bool{}
			}
			for key := range set {
				union.days[day][key] = true
			}
		}
	}
	for _, set := range union.days {
		keys += int64(len(set))
	}
	want := Run{Blob: merged.Blob, From: due[0].From, To: due[len(due)-1].To, Keys: keys}
	if merged != want {
		m.t.Errorf("merged run is %+v, want %+v", merged, want)
	}
	m.runs = slices.Replace(m.runs, at, at+len(due), union)
}

// find looks up keys of a day, some of them there, some repeated.
func (m *model) find(set *Set, r *rand.Rand, day segment.Day) {
	m.t.Helper()
	keys := make([]segment.Key, 0, 300)
	for range r.IntN(300) {
		var k segment.Key
		switch {
		case r.IntN(2) == 0 && len(m.pool) > 0:
			k = m.pool[r.IntN(len(m.pool))]
		default:
			binary.LittleEndian.PutUint64(k[:8], uint64(r.IntN(6))<<61)
			k[15] = byte(r.IntN(256))
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, segment.Key.Compare)
	after := int64(-1)
	if r.IntN(3) == 0 && len(m.runs) > 0 {
		after = r.Int64N(m.runs[len(m.runs)-1].To + 1)
	}
	found, want := make([]bool, len(keys)), make([]bool, len(keys))
	for i, key := range keys {
		if r.IntN(10) == 0 {
			found[i], want[i] = true, true
			continue
		}
		for _, run := range m.runs {
			want[i] = want[i] || run.To > after && run.days[day][key]
		}
	}
	if err := set.Find(day, keys, found, after); err != nil {
		m.t.Error(err)
		return
	}
	for i := range keys {
		if found[i] != want[i] {
			m.t.Errorf("key %x of %s after seal %d: found %t, want %t", keys[i], day, after, found[i], want[i])
			return
		}
	}
}

func (m *model) listed() []Run {
	runs := []Run{}
	for _, r := range m.runs {
		runs = append(runs, r.Run)
	}
	return runs
}

func (m *model) check() {
	m.t.Helper()
	if got, want := m.set.Runs(), m.listed(); !slices.Equal(got, want) {
		m.t.Fatalf("runs are %+v, want %+v", got, want)
	}
	if open := m.disk.OpenFiles(); open != len(m.runs) {
		m.t.Fatalf("%d files are open for %d runs", open, len(m.runs))
	}
	if used := m.set.cache.used; used > m.set.cache.budget && m.set.cache.byUse.Len() > 1 {
		m.t.Fatalf("the cache holds %d bytes, it may hold %d", used, m.set.cache.budget)
	}
	var held int64
	for e := m.set.cache.byUse.Front(); e != nil; e = e.Next() {
		held += int64(len(e.Value.(*cached).bytes))
		if run := e.Value.(*cached).place.run; !slices.Contains(m.set.runs, run) {
			m.t.Fatalf("the cache holds something of %s, which is gone", run.Blob)
		}
	}
	if held != m.set.cache.used || m.set.cache.byUse.Len() != len(m.set.cache.held) {
		m.t.Fatalf("the cache holds %d bytes and counts %d", held, m.set.cache.used)
	}
}

// Keys of many days are sealed, looked up and merged; old days come again. The set
// finds the same keys as a map, with any size of the cache.
func TestFindsTheKeysOfAMap(t *testing.T) {
	for seed, budget := range []int64{1, 10 << 10, 1 << 20, 1 << 30} {
		m := newModel(t, uint64(seed), budget)
		for step := range 120 {
			var days []segment.Day
			for d := range segment.Day(1 + m.r.IntN(4)) {
				days = append(days, 20000+segment.Day(step/10)+d)
			}
			if m.r.IntN(5) == 0 {
				days = append([]segment.Day{20000}, days...)
				days = slices.Compact(days)
			}
			perDay := 50
			if m.r.IntN(12) == 0 {
				perDay = 3 * segment.PageKeys
			}
			m.add(m.seal(perDay, days...))
			for due := m.set.Due(); due != nil; due = m.set.Due() {
				m.merge(due)
			}
			m.check()
			for range 4 {
				m.find(m.set, m.r, 19999+segment.Day(m.r.IntN(16)))
			}
		}
		if err := m.set.Close(); err != nil {
			t.Error(err)
		}
		if open := m.disk.OpenFiles(); open != 0 {
			t.Errorf("%d files are open after Close", open)
		}
	}
}

// A seal without keys, whose rows were all duplicates, is a run like any other.
func TestARunMayBeEmpty(t *testing.T) {
	m := newModel(t, 1, 1<<20)
	for range 9 {
		m.add(m.seal(1))
		for due := m.set.Due(); due != nil; due = m.set.Due() {
			m.merge(due)
		}
		m.check()
		m.find(m.set, m.r, 20000)
	}
	if newest := m.set.Newest(); newest != 9 {
		t.Errorf("newest is %d, want 9", newest)
	}
}

// A day with more keys than a section takes is merged into several; a key that
// two runs have is kept once, also where one section ends.
func TestADayOfManySections(t *testing.T) {
	m := newModel(t, 2, 1<<20)
	all := make([]segment.Key, segment.SectionKeys+3*segment.PageKeys)
	for i := range all {
		binary.LittleEndian.PutUint64(all[i][:8], uint64(i/3)*1e12)
		binary.LittleEndian.PutUint64(all[i][8:], uint64(i%3))
	}
	m.pool = all
	// Each key in one run of three; those around the end of a section in all.
	for part := range 3 {
		run := modelRun{Run: Run{Blob: m.blob(), From: int64(part + 1), To: int64(part + 1)}, days: map[segment.Day]map[segment.Key]bool{20000: {}}}
		for i, key := range all {
			if i%3 == part || i > segment.SectionKeys-10 && i < segment.SectionKeys+10 {
				run.days[20000][key] = true
			}
		}
		run.Keys = int64(len(run.days[20000]))
		m.write(run)
		m.add(run)
	}
	m.merge(m.set.Runs())
	m.check()
	sections := m.set.runs[0].byDay[20000]
	if len(sections) != 2 || sections[0].Count != segment.SectionKeys || sections[1].Count != len(all)-segment.SectionKeys {
		t.Errorf("%d sections, the first of %d keys", len(sections), sections[0].Count)
	}
	found := make([]bool, len(all))
	if err := m.set.Find(20000, all, found, -1); err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(found, false); i >= 0 {
		t.Errorf("key %d is not found", i)
	}
	for range 20 {
		m.find(m.set, m.r, 20000)
	}
}

// Another process has merged runs: Sync opens the new ones and closes those that
// are gone. It changes nothing if the blob of a listed run is missing.
func TestSyncFollowsTheCatalog(t *testing.T) {
	m := newModel(t, 3, 1<<20)
	for range 5 {
		m.add(m.seal(100, 20000, 20001))
	}
	other := NewSet(m.store, 1<<20)
	for round := range 20 {
		switch round % 3 {
		case 0:
			run := m.seal(100, 20000)
			m.runs = append(m.runs, run)
		case 1:
			if err := other.Sync(t.Context(), m.listed()); err != nil {
				t.Fatal(err)
			}
			due := m.listed()[len(m.runs)-2:]
			merged, err := other.Merge(t.Context(), due, m.blob())
			if err != nil {
				t.Fatal(err)
			}
			m.replace(due, merged)
		case 2:
			m.runs = append(m.runs, m.seal(100, 20001))
			gone := append(m.listed(), Run{Blob: "keys/7/gone.seg", From: 1000, To: 1000})
			before, open := m.set.Runs(), m.disk.OpenFiles()
			if err := m.set.Sync(t.Context(), gone); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a run that is gone: %v", err)
			}
			if !slices.Equal(m.set.Runs(), before) {
				t.Error("a sync that failed has changed the set")
			}
			if now := m.disk.OpenFiles(); now != open {
				t.Errorf("a sync that failed has left %d files open", now-open)
			}
		}
		if err := m.set.Sync(t.Context(), m.listed()); err != nil {
			t.Fatal(err)
		}
		if got := m.set.Runs(); !slices.Equal(got, m.listed()) {
			t.Fatalf("runs are %+v, want %+v", got, m.listed())
		}
		m.find(m.set, m.r, 20000)
	}
	if err := errors.Join(m.set.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if open := m.disk.OpenFiles(); open != 0 {
		t.Errorf("%d files are open after Close", open)
	}
}

// Every step of Merge, Replace, Add and Sync fails once. The set then holds the
// runs from before the call or those from after it, and no file stays open or
// half written.
func TestAFailedStepLeavesASetWhole(t *testing.T) {
	for n := 1; ; n++ {
		for _, fault := range []disktest.Fault{disktest.Before, disktest.After} {
			m := newModel(t, 4, 1)
			for range 3 {
				m.add(m.seal(10, 20000, 20001))
			}
			script := &disktest.Script{}
			store, err := disk.OpenOn(m.disk.With(script), "/blobs")
			if err != nil {
				t.Fatal(err)
			}
			next := m.seal(10, 20001)
			m.set.store = store
			begin := len(script.Steps())
			script.FailAt(begin+n, fault, false)
			changed := func() error {
				if err := m.set.Add(t.Context(), next.Run); err != nil {
					return err
				}
				m.runs = append(m.runs, next)
				due := m.listed()
				merged, err := m.set.Merge(t.Context(), due, "keys/7/merged.seg")
				if err != nil {
					return err
				}
				err = m.set.Replace(t.Context(), due, merged)
				if len(m.set.Runs()) == 1 {
					m.replace(due, merged)
				}
				return err
			}()
			script.Fail(nil)
			if len(script.Steps()) < begin+n {
				return
			}
			name := script.Steps()[begin+n-1]
			if changed != nil && !errors.Is(changed, disktest.ErrInjected) {
				t.Errorf("%s: %v", name, changed)
			}
			if got := m.set.Runs(); !slices.Equal(got, m.listed()) {
				t.Errorf("%s: runs are %+v, want %+v", name, got, m.listed())
			}
			for range 10 {
				m.find(m.set, m.r, 20000+segment.Day(m.r.IntN(2)))
			}
			if err := m.set.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if open := m.disk.OpenFiles(); open != 0 {
				t.Errorf("%s: %d files are open after Close", name, open)
			}
			// A create that fails after its effect returns no name: its file
			// stays until the next sweep.
			if files := strings.Join(m.disk.Files(), " "); strings.Contains(files, ".tmp-") && !strings.HasPrefix(name, "create") {
				t.Errorf("%s: a file is left: %s", name, files)
			}
		}
	}
}

// Look-ups go on while runs are added and merged.
func TestLookUpsWhileRunsChange(t *testing.T) {
	m := newModel(t, 5, 20<<10)
	m.add(m.seal(2*segment.PageKeys, 20000))
	want := sortedKeys(m.runs[0].days[20000])
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				found := make([]bool, len(want))
				if err := m.set.Find(20000, want, found, -1); err != nil {
					t.Error(err)
					return
				}
				if i := slices.Index(found, false); i >= 0 {
					t.Errorf("key %d is not found", i)
					return
				}
			}
		})
	}
	for range 40 {
		m.add(m.seal(400, 20000))
		for due := m.set.Due(); due != nil; due = m.set.Due() {
			m.merge(due)
		}
	}
	close(done)
	readers.Wait()
	if err := m.set.Close(); err != nil {
		t.Error(err)
	}
}

// For seals of any sizes, the number of runs and the number of times that a key is
// written grow with the logarithm of the number of keys.
func TestTheMergePolicyIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 10))
	sizes := map[string]func(i int) int64{
		"empty":       func(int) int64 { return 0 },
		"one":         func(int) int64 { return 1 },
		"ten":         func(int) int64 { return 10 },
		"equal":       func(int) int64 { return 10_000 },
		"growing":     func(i int) int64 { return int64(i) * 100 },
		"shrinking":   func(i int) int64 { return 1_000_000 / int64(i+1) },
		"in turn":     func(i int) int64 { return []int64{1_000_000, 10}[i%2] },
		"powers":      func(i int) int64 { return 1 << (20 - i%20) },
		"powers up":   func(i int) int64 { return int64(math.Pow(3, float64(i%13))) },
		"heavy tails": func(int) int64 { return int64(math.Exp(8 + 3*r.NormFloat64())) },
	}
	for name, size := range sizes {
		var runs []Run
		var total, written int64
		for i := range 5000 {
			n := size(i)
			runs = append(runs, Run{Blob: fmt.Sprint(i), From: int64(i), To: int64(i), Keys: n})
			total += n
			for group := due(runs); group != nil; group = due(runs) {
				merged := Run{From: group[0].From, To: group[len(group)-1].To}
				for _, run := range group {
					merged.Keys += run.Keys
				}
				if len(group) < FanOut || group[len(group)-1] != runs[len(runs)-1] {
					t.Fatalf("%s: %d runs are due, of %d", name, len(group), len(runs))
				}
				written += merged.Keys
				runs = append(runs[:len(runs)-len(group)], merged)
			}
			large := math.Max(float64(total)/smallRun, 1)
			// From each run, at most three steps back is one more than twice as large.
			if most := 3*math.Log2(large) + FanOut; float64(len(runs)) > most {
				t.Fatalf("%s: %d runs after %d seals, at most %.0f are allowed", name, len(runs), i+1, most)
			}
			// A merge makes a run half as large again, or it was a small one.
			most := float64(total)*(math.Log(large)/math.Log(1.5)+1) + float64(i+1)*smallRun
			if float64(written) > most {
				t.Fatalf("%s: %d keys were written for %d after %d seals, at most %.0f are allowed", name, written, total, i+1, most)
			}
		}
		t.Logf("%s: %d runs, each key written %.1f times", name, len(runs), float64(written)/float64(max(total, 1)))
	}
}
