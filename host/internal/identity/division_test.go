package identity_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// randomLinks collide a lot.
func randomLinks(r *rand.Rand, rules schema.Identity, n int) []schema.Link {
	var links []schema.Link
	for range n {
		user, other := fmt.Sprint("u", r.IntN(60)), anonymous(r.IntN(90))
		var l schema.Link
		switch k := r.IntN(10); {
		case rules == schema.Simplified:
			l = link(other, user)
		case k < 5:
			l = identify(user, other)
		case k < 7:
			l = alias(user, other)
		case k < 8:
			l = alias(other, anonymous(r.IntN(90)))
		case k < 9:
			l = merge(other, anonymous(r.IntN(90)))
		default:
			l = merge(user, fmt.Sprint("u", r.IntN(60)))
		}
		l.Time += int64(len(links))
		links = append(links, l)
	}
	return links
}

// fold is everything that may depend on how links were folded.
type fold struct {
	Blob     string
	Rows     int64
	Failures []identity.Failure
	Stats    identity.Stats
}

// One fold or many, stopped anywhere, with an index that is gone, was put back,
// is damaged, or of another journal: the result is the same.
func TestAnyDivisionAnyCrash(t *testing.T) {
	for name, rules := range map[string]schema.Identity{"simplified": schema.Simplified, "original": schema.Original} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 1))
				j := &memJournal{}
				for i := range 8 {
					j.add(t, fmt.Sprint("segment", i), 1+r.IntN(9), 1+r.IntN(3), randomLinks(r, rules, r.IntN(60))...)
				}
				want := foldAtOnce(t, rules, j)
				got := foldSomehow(t, r, rules, j)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if want.Rows == 0 || len(want.Failures) == 0 {
					t.Errorf("the links show little: %d rows, %d failures", want.Rows, len(want.Failures))
				}
			})
		}
	}
}

const smallLimit = 12 // of ids of one person

func foldAtOnce(t *testing.T, rules schema.Identity, j *memJournal) fold {
	t.Helper()
	m := newMappings(t)
	x := open(t, identity.Options{Dir: t.TempDir(), Rules: rules, Journal: j, Limit: smallLimit, Failures: 40})
	g, err := x.Generation(t.Context(), m.store, nil, j.seq())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, resolved := range m.of(g) {
		if counts[resolved]++; rules == schema.Original && counts[resolved] >= smallLimit {
			t.Errorf("%s has %d ids and itself", resolved, counts[resolved])
		}
	}
	return result(t, x, g)
}

func result(t *testing.T, x *identity.Index, g *pipeline.Generation) fold {
	t.Helper()
	failures, err := x.Failures(0)
	if err != nil {
		t.Fatal(err)
	}
	return fold{g.Blob, g.Rows, failures, x.Stats()}
}

// foldSomehow folds the journal in random steps. Between them it damages, replaces
// or restores the index, as crashes and operators do.
func foldSomehow(t *testing.T, r *rand.Rand, rules schema.Identity, j *memJournal) fold {
	t.Helper()
	m := newMappings(t)
	root := t.TempDir()
	dirs := 0
	fresh := func() string { dirs++; return filepath.Join(root, fmt.Sprint("index", dirs)) }
	o := identity.Options{Dir: fresh(), Rules: rules, Journal: j, Limit: smallLimit, Failures: 40, Batch: 1 + r.IntN(20), Memory: 4 << 20}
	x := open(t, o)
	var latest *pipeline.Generation // in the catalog
	var image string                // of the index at some time
	for seq := int64(0); seq < j.seq(); {
		to := min(j.seq(), seq+r.Int64N(3))
		switch r.IntN(8) {
		case 0: // it is folded, and no generation is made
			if err := x.Fold(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		case 1: // the fold is broken off
			stopped, cancel := context.WithCancel(t.Context())
			go cancel()
			if err := x.Fold(stopped, to); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		case 2, 3, 4: // the next generation
			g, err := x.Generation(t.Context(), m.store, latest, to)
			if err != nil {
				t.Fatal(err)
			}
			if m.of(g); r.IntN(3) > 0 {
				latest = g
			}
			seq = g.Seq
		case 5: // a crash: the index has the files that are on disk at this instant
			o.Dir = copyIndex(t, o.Dir, fresh())
			x = open(t, o)
			if r.IntN(2) == 0 {
				image = copyIndex(t, o.Dir, fresh())
			}
		case 6: // an older index, or one of another journal
			if image == "" {
				continue
			}
			o.Dir = copyIndex(t, image, fresh())
			if r.IntN(2) == 0 {
				other := &memJournal{}
				for i := range 8 {
					other.add(t, fmt.Sprint("other", i), 5, 5, randomLinks(r, rules, 20)...)
				}
				o.Journal = other
				foreign := open(t, o)
				if err := foreign.Fold(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
				if err := foreign.Close(); err != nil {
					t.Fatal(err)
				}
				o.Journal = j
			}
			x = open(t, o)
		default: // a damaged index, or none
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			if r.IntN(2) == 0 {
				o.Dir = fresh()
			} else {
				damage(t, r, o.Dir)
			}
			x = open(t, o)
		}
	}
	g, err := x.Generation(t.Context(), m.store, latest, j.seq())
	if err != nil {
		t.Fatal(err)
	}
	return result(t, x, g)
}

// copyIndex copies the files of an index that would survive a crash now, to a new
// directory.
func copyIndex(t *testing.T, from, to string) string {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a compaction removed it after ReadDir
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// damage flips bits in all tables of an index, or cuts them short.
func damage(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".sst") && !strings.HasPrefix(e.Name(), "MANIFEST") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 && r.IntN(4) > 0 {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		} else {
			data = data[:len(data)/2]
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Other rules, or another limit, need another fold.
func TestOtherRulesFoldAnew(t *testing.T) {
	j := &memJournal{}
	j.add(t, "one", 10, 10, link("D", "U"), identify("U", a1), identify("U", a2))
	o := identity.Options{Dir: t.TempDir(), Journal: j}
	for _, want := range []struct {
		rules    schema.Identity
		limit    int
		mappings int64
	}{{schema.Simplified, 0, 1}, {schema.Original, 0, 2}, {schema.Original, 2, 1}, {schema.Simplified, 0, 1}} {
		o.Rules, o.Limit = want.rules, want.limit
		x, err := identity.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Fold(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if s := x.Stats(); s.Mappings != want.mappings {
			t.Errorf("%v: %+v", want, s)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Folded links are not read again, and mappings that did not change are not
// written again.
func TestAFoldGoesOn(t *testing.T) {
	j := &memJournal{}
	r := rand.New(rand.NewPCG(5, 5))
	j.add(t, "one", 10, 4, randomLinks(r, schema.Original, 400)...)
	o := identity.Options{Dir: t.TempDir(), Rules: schema.Original, Journal: j}
	m := newMappings(t)
	x := open(t, o)
	g, err := x.Generation(t.Context(), m.store, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	j.add(t, "two", 10, 4, identify("somebody", anonymous(1000)))
	j.blocks = 0
	x = open(t, o)
	next, err := x.Generation(t.Context(), m.store, g, 2)
	if err != nil {
		t.Fatal(err)
	}
	if j.blocks != 1 || next.Rows != g.Rows+1 || next.Seq != 2 {
		t.Errorf("%d blocks were read; %+v", j.blocks, next)
	}
}

// Nothing is folded onto a disk that is nearly full, and all of it once there is
// room.
func TestAFullDiskIsSaid(t *testing.T) {
	j := &memJournal{}
	j.add(t, "one", 10, 4, link("D", "U"))
	o := identity.Options{Dir: t.TempDir(), Journal: j, Reserve: 1 << 60}
	x, err := identity.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Fold(t.Context(), 1); !errors.Is(err, syscall.ENOSPC) || x.Stats().IDs != 0 {
		t.Errorf("%v, %+v", err, x.Stats())
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	o.Reserve = 0
	x = open(t, o)
	if err := x.Fold(t.Context(), 1); err != nil || x.Stats().IDs != 2 {
		t.Errorf("%v, %+v", err, x.Stats())
	}
}

// Many ids are looked up together, few one by one; both return the same mappings,
// from memory and from tables. Only the user can read the index's files.
func TestManyLookUpsAtOnce(t *testing.T) {
	each := 3000 // links of a segment
	if testing.Short() {
		each = 600
	}
	for name, rules := range map[string]schema.Identity{"simplified": schema.Simplified, "original": schema.Original} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(8, 9))
			j := &memJournal{}
			for i := range 4 {
				var links []schema.Link
				for range each {
					user, other := fmt.Sprint("u", r.IntN(2000)), anonymous(r.IntN(4000))
					switch {
					case rules == schema.Simplified:
						links = append(links, link(other, user))
					case r.IntN(4) == 0:
						links = append(links, merge(other, anonymous(r.IntN(4000))))
					default:
						links = append(links, identify(user, other))
					}
				}
				j.add(t, fmt.Sprint("segment", i), 100, 3, links...)
			}
			var folds []fold
			for _, size := range []int{7, 1000, 49_152} {
				m, dir := newMappings(t), t.TempDir()
				x := open(t, identity.Options{Dir: dir, Rules: rules, Journal: j, Batch: size, Memory: 1 << 20})
				var g *pipeline.Generation
				for seq := range j.seq() {
					var err error
					if g, err = x.Generation(t.Context(), m.store, g, seq+1); err != nil {
						t.Fatal(err)
					}
				}
				m.of(g)
				folds = append(folds, result(t, x, g))
				private(t, dir)
			}
			for _, f := range folds[1:] {
				if diff := cmp.Diff(folds[0], f); diff != "" {
					t.Error(diff)
				}
			}
			if folds[0].Rows < int64(each/3) || len(folds[0].Failures) == 0 {
				t.Errorf("the links show little: %d rows, %d failures", folds[0].Rows, len(folds[0].Failures))
			}
		})
	}
}

func private(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}
