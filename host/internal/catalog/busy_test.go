package catalog

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// impatient is the time for which the connections of these tests wait by themselves: none.
const impatient = "?_pragma=busy_timeout(0)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock="

// hold takes a catalog away from every other connection, as a process does that opens it
// or is the last to close it. free gives it back.
func hold(t *testing.T, path string) (free func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)")
	if err == nil {
		_, err = db.ExecContext(t.Context(), `UPDATE identity SET host = 'holder'`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// shy opens a pool whose connections are opened for each operation, and calls pause
// whenever SQLite says that the catalog is busy.
func shy(t *testing.T, path, lock string, pause func(context.Context) error) *sql.DB {
	t.Helper()
	c, err := sqlite.NewConnector("file:" + path + impatient + lock)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector{c, pause})
	db.SetMaxIdleConns(0)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Every call waits for another process that has the catalog, whether it reads in a
// transaction, in a single statement, or writes.
func TestCallsWaitForABusyCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	first, err := Open(t.Context(), path, "first")
	if err == nil {
		err = errors.Join(first.RegisterProject(t.Context(), project, "shop", "UTC"), first.obey(t.Context(), []string{"register", "events", "s3://lake/"}),
			first.obey(t.Context(), []string{"plan", "events"}))
	}
	var p *pipeline.Pipeline
	if err == nil {
		p, err = first.Pipeline(t.Context(), "events")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil { // no connection is open
		t.Fatal(err)
	}
	var free func()
	waited := 0
	pause := func(context.Context) error {
		if waited++; waited == 2 { // it was busy, and still is
			free()
		}
		return nil
	}
	c := &Catalog{write: shy(t, path, "immediate", pause), read: shy(t, path, "deferred", pause), owner: "second", path: path}
	for name, call := range map[string]func(context.Context) error{
		"Pipeline":   func(ctx context.Context) error { _, err := c.Pipeline(ctx, "events"); return err },
		"Pipelines":  func(ctx context.Context) error { _, err := c.Pipelines(ctx); return err },
		"Runs":       func(ctx context.Context) error { _, err := c.Runs(ctx, p.ID, 5); return err },
		"OpenRun":    func(ctx context.Context) error { _, err := c.OpenRun(ctx, p.ID); return err },
		"Generation": func(ctx context.Context) error { _, err := c.Generation(ctx, project, batch.People); return err },
		"Sequence":   func(ctx context.Context) error { _, err := c.Sequence(ctx, project); return err },
		"Cursors":    func(ctx context.Context) error { _, err := c.Cursors(ctx, project, "files.feed"); return err },
		"Extents": func(ctx context.Context) error {
			return c.Extents(ctx, project, journal.KindEvents, 0, 9, func(int64, []pipeline.Extent) error { return nil })
		},
		"Projects":       func(ctx context.Context) error { _, err := c.Projects(ctx); return err },
		"ID":             func(ctx context.Context) error { _, err := c.ID(ctx); return err },
		"LatestSeal":     func(ctx context.Context) error { _, err := c.LatestSeal(ctx); return err },
		"Quarantine.Get": func(ctx context.Context) error { _, err := c.Quarantine().Get(ctx, "a", "b"); return err },
		"Sources":        func(ctx context.Context) error { _, err := c.Quarantine().Sources(ctx); return err },
		"NoteLook":       func(ctx context.Context) error { return c.NoteLook(ctx, p.ID, registeredAt) },
		"NoteHost":       func(ctx context.Context) error { return c.NoteHost(ctx, "1.2.3") },
		"SetUpkeep":      func(ctx context.Context) error { return c.SetUpkeep(ctx, 1) },
		"Set":            func(ctx context.Context) error { return c.Quarantine().Set(ctx, "a", map[string][]byte{"b": {1}}) },
		"AcquireRun": func(ctx context.Context) error {
			_, err := c.AcquireRun(ctx, p.ID, 1, "second", time.Minute)
			return err
		},
	} {
		free, waited = hold(t, path), 0
		if err := call(t.Context()); err != nil || waited < 2 {
			t.Errorf("%s: waited %d times: %v", name, waited, err)
		}
		if waited < 2 {
			free()
		}
	}
}

// A call that waits for a busy catalog ends with its context, and says both.
func TestACallGivesUpOnABusyCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	first, err := Open(t.Context(), path, "first")
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer hold(t, path)()
	ctx, cancel := context.WithCancel(t.Context())
	c := &Catalog{read: shy(t, path, "deferred", func(patience context.Context) error { cancel(); return context.Cause(patience) })}
	if _, err := c.ID(ctx); !isBusy(err) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
