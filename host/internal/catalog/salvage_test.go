package catalog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// rebuilt returns a catalog with the seals of a journal up to seq and nothing
// else.
func rebuilt(t *testing.T, seq int64) *Catalog {
	t.Helper()
	c := newCatalog(t)
	for n := range seq {
		if err := c.RestoreSeal(t.Context(), newSeal(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// A rebuilt catalog takes over the identity, pipelines, runs and ledger of the
// old one.
func TestRestoreFromAReadableCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	old := open(t, path, "old")
	if err := old.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, old, newSeal(1))
	p, run := planned(t, old)
	if err := old.Quarantine().Set(t.Context(), "files.a", map[string][]byte{"file/x": []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	id, err := old.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	c := rebuilt(t, 2)
	s, err := c.RestoreFrom(t.Context(), path)
	if err != nil || s.Pipelines != 1 || s.Runs != 1 || s.RunsError != nil || s.QuarantineError != nil {
		t.Fatalf("%+v, %v", s, err)
	}
	if kept := reload(t, c); kept.ID != p.ID || !reflect.DeepEqual(kept.Cursor, p.Cursor) || kept.LastRun != 1 {
		t.Errorf("the pipeline is %+v, and was %+v", kept, p)
	}
	if open, err := c.OpenRun(t.Context(), p.ID); err != nil || open == nil || open.Content != run.Content || len(open.Extents) != len(run.Extents) {
		t.Errorf("the run is %+v, %v, and was %+v", open, err, run)
	}
	if again, err := c.ID(t.Context()); err != nil || again != id {
		t.Errorf("identity %s, %v, was %s", again, err, id)
	}
	if value, err := c.Quarantine().Get(t.Context(), "files.a", "file/x"); err != nil || string(value) != "{}" {
		t.Errorf("the ledger has %q, %v", value, err)
	}
}

// Runs that cannot be read do not keep pipelines from being restored.
func TestRestoreFromACatalogWithUnreadableRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	old := open(t, path, "old")
	if err := old.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	p, _ := planned(t, old)
	// As in a file whose page of runs is damaged: reading the table fails.
	exec(t, old, `ALTER TABLE runs RENAME TO damaged`)
	c := rebuilt(t, 1)
	s, err := c.RestoreFrom(t.Context(), path)
	if err != nil || s.Pipelines != 1 || s.Runs != 0 || s.RunsError == nil || s.QuarantineError != nil {
		t.Fatalf("%+v, %v", s, err)
	}
	if kept := reload(t, c); kept.ID != p.ID {
		t.Errorf("the pipeline is %+v, and was %+v", kept, p)
	}
}

// A disk that is full says nothing about the old catalog: nothing of it counts as
// unreadable.
func TestRestoreOnAFullDisk(t *testing.T) {
	for table, grow := range map[string]string{
		"pipelines":  `UPDATE pipelines SET destination = printf('%.*c', 100000, 'x')`,
		"runs":       `UPDATE runs SET error = printf('%.*c', 100000, 'x')`,
		"quarantine": `INSERT INTO quarantine (source, key, value) VALUES ('files.a', 'x', zeroblob(100000))`,
	} {
		t.Run(table, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "old.db")
			old := open(t, path, "old")
			if err := old.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, old, newSeal(1))
			planned(t, old)
			exec(t, old, grow)
			c := rebuilt(t, 2)
			// It may take a few rows, and no more: the limit is at least the present size.
			exec(t, c, `PRAGMA max_page_count = 1`)
			if s, err := c.RestoreFrom(t.Context(), path); !DiskFailed(err) || s != (Salvage{}) {
				t.Errorf("%+v, %v", s, err)
			}
			if n := count(t, c, `SELECT COUNT(*) FROM pipelines`); n != 0 {
				t.Errorf("%d pipelines were copied", n)
			}
		})
	}
}

// Pipelines of a catalog that lists other seals than the journal has are not
// taken over: their cursors mean nothing there.
func TestRestoreFromACatalogOfAnotherJournal(t *testing.T) {
	for name, change := range map[string]string{
		"another segment":     `UPDATE segments SET blob = 'segments/7/other.seg' WHERE seq = 1`,
		"more seals":          `UPDATE segments SET seq = 3 WHERE seq = 1`,
		"a cursor too far":    `UPDATE pipelines SET cursor = CAST(json_set(cursor, '$.live.seq', 3) AS BLOB)`,
		"a cut that is later": `UPDATE pipelines SET cursor = CAST(json_set(cursor, '$.cut', 3) AS BLOB)`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "old.db")
			old := open(t, path, "old")
			if err := old.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, old, newSeal(1))
			planned(t, old)
			exec(t, old, change)
			c := rebuilt(t, 2)
			if s, err := c.RestoreFrom(t.Context(), path); !errors.Is(err, ErrOtherJournal) || s.Pipelines != 0 {
				t.Errorf("%+v, %v", s, err)
			}
			if n := count(t, c, `SELECT COUNT(*) FROM pipelines`); n != 0 {
				t.Errorf("%d pipelines were taken over", n)
			}
		})
	}
}

// A damaged file is found, whether or not SQLite opens it.
func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(t.Context(), path, "host-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Check(t.Context()), c.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := range len(whole) / 4096 {
		damaged := slices.Clone(whole)
		copy(damaged[page*4096+100:(page+1)*4096], make([]byte, 4096))
		if bytes.Equal(damaged, whole) {
			continue
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(t.Context(), path, "host-1")
		if err == nil {
			err = errors.Join(c.Check(t.Context()), c.Close())
		}
		if err == nil {
			t.Errorf("page %d is damaged, and nothing is found", page)
		}
	}
}
