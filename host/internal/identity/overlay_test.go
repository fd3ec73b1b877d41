package identity_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// sumsOf returns the checksums of the files in a directory.
func sumsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return sums
}

// An index with a scratch directory folds on from where its own directory
// stands, which stays as it is; also when it is damaged, so that all is folded
// again.
func TestAnIndexWithAScratchDirectory(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"sound": func(*testing.T, string) {},
		"damaged": func(t *testing.T, dir string) {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatal(tables, err)
			}
			for _, table := range tables {
				if err := os.WriteFile(table, []byte("damaged"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"missing": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := &memJournal{}
			j.add(t, "segment0", 20, 3, cluster("one", 0, 30)...)
			dir := filepath.Join(t.TempDir(), "index")
			o := identity.Options{Dir: dir, Rules: schema.Original, Journal: j}
			fold := func(o identity.Options, seq int64) identity.Stats {
				t.Helper()
				x, err := identity.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				if err := x.Fold(t.Context(), seq); err != nil {
					t.Fatal(err)
				}
				s := x.Stats()
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
				return s
			}
			fold(o, 1)
			damage(t, dir)
			j.add(t, "segment1", 20, 3, cluster("two", 100, 30)...)
			var before map[string]string
			if name != "missing" {
				before = sumsOf(t, dir)
			}

			looked := o
			looked.Scratch = filepath.Join(t.TempDir(), "scratch")
			got := fold(looked, 2)
			if name != "missing" {
				if diff := cmp.Diff(before, sumsOf(t, dir)); diff != "" {
					t.Errorf("the directory was changed:\n%s", diff)
				}
			} else if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the directory was made: %v", err)
			}
			if diff := cmp.Diff(fold(o, 2), got); diff != "" || got.IDs < 60 {
				t.Errorf("folded otherwise than the index itself (%d ids):\n%s", got.IDs, diff)
			}
		})
	}
}
