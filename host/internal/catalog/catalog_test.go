package catalog

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(rivalEnv); path != "" {
		os.Exit(rival(path, os.Getenv(rivalEnv+"_OWNER")))
	}
	goleak.VerifyTestMain(m)
}

const project = 7

func open(t *testing.T, path, owner string) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), path, owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// newCatalog is a catalog with one project.
func newCatalog(t *testing.T) *Catalog {
	t.Helper()
	c := open(t, filepath.Join(t.TempDir(), "catalog.db"), "host-1")
	if err := c.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is one catalog as two processes have it open.
func pair(t *testing.T) [2]*Catalog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := [2]*Catalog{open(t, path, "host-1"), open(t, path, "host-2")}
	if err := c[0].RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	return c
}

// count runs a query for one number.
func count(t *testing.T, c *Catalog, query string, args ...any) (n int64) {
	t.Helper()
	if err := c.read.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func exec(t *testing.T, c *Catalog, statement string, args ...any) {
	t.Helper()
	if _, err := c.write.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// withMigrations sets the migrations for one test.
func withMigrations(t *testing.T, m ...string) {
	t.Helper()
	before := migrations
	t.Cleanup(func() { migrations = before })
	migrations = m
}

func columns(t *testing.T, c *Catalog, table string) []string {
	t.Helper()
	rows, err := c.read.QueryContext(t.Context(), `SELECT name FROM pragma_table_info(?)`, table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAnOlderCatalogIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	withMigrations(t, schema)
	c := open(t, path, "host-1")
	if err := c.RegisterProject(t.Context(), project, "shop", "Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
	withMigrations(t, schema,
		`ALTER TABLE projects ADD COLUMN note TEXT NOT NULL DEFAULT 'none'; CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT`,
		`UPDATE projects SET note = 'migrated'; DROP TABLE notes`)
	for _, want := range []string{"migrated", "changed since"} { // the second time there is nothing to do
		c := open(t, path, "host-1")
		var name, zone, note string
		if err := c.read.QueryRowContext(t.Context(), `SELECT name, timezone, note FROM projects WHERE id = ?`, project).Scan(&name, &zone, &note); err != nil {
			t.Fatal(err)
		}
		if name != "shop" || zone != "Europe/Berlin" || note != want {
			t.Errorf("the project is %s, %s, %s", name, zone, note)
		}
		if version := count(t, c, `PRAGMA user_version`); version != 3 {
			t.Errorf("version %d, want 3", version)
		}
		exec(t, c, `UPDATE projects SET note = 'changed since'`)
	}
}

func TestAMigrationThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	withMigrations(t, schema)
	c := open(t, path, "host-1")
	before := columns(t, c, "projects")
	withMigrations(t, schema, `ALTER TABLE projects ADD COLUMN note TEXT`, `ALTER TABLE nothing ADD COLUMN note TEXT`)
	if _, err := Open(t.Context(), path, "host-1"); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "migrate") {
		t.Errorf("got %v", err)
	}
	if after := columns(t, c, "projects"); !slices.Equal(after, before) {
		t.Errorf("columns are %q, were %q", after, before)
	}
	if version := count(t, c, `PRAGMA user_version`); version != 1 {
		t.Errorf("version %d, want 1", version)
	}
}

func TestANewerCatalogIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path, "host-1")
	exec(t, c, fmt.Sprintf(`PRAGMA user_version = %d`, len(migrations)+1))
	if err := c.NoteHost(t.Context(), "9.9.0"); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path, "host-1")
	var newer *NewerError
	if !errors.As(err, &newer) || newer.Found != len(migrations)+1 || newer.Known != len(migrations) || newer.Host != "9.9.0" {
		t.Fatalf("got %v", err)
	}
	want := fmt.Sprintf("the catalog has schema version %d, which penstock 9.9.0 wrote, and this host knows %d", newer.Found, newer.Known)
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Nothing was changed") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %q", err)
	}
	if _, err := Look(t.Context(), path, func() (string, error) { return t.TempDir(), nil }); !errors.As(err, &newer) {
		t.Errorf("a look: %v", err)
	}
	if version := count(t, c, `PRAGMA user_version`); version != int64(newer.Found) {
		t.Errorf("version %d after it was refused", version)
	}
}

func TestProcessesThatOpenAtOnceMakeOneCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, err := Open(t.Context(), path, fmt.Sprint("host-", i))
			if err == nil {
				err = errors.Join(c.RegisterProject(t.Context(), project, "shop", "UTC"), c.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, open(t, path, "host"), `SELECT COUNT(*) FROM projects`); n != 1 {
		t.Errorf("%d projects", n)
	}
}

func TestRefusesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	contents := strings.Repeat("this is not a database ", 1000)
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, "host-1"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != contents {
		t.Errorf("the file was changed: %v", err)
	}
}

// Any path opens the file of that name, also one with characters of a URI.
func TestAnyPathIsOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?mode=ro&c%20#d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, filepath.Join(dir, "catalog.db"), "host-1")
	if _, err := os.Stat(filepath.Join(dir, "catalog.db")); err != nil {
		t.Error(err)
	}
}

// Durable means: the log is synced before a transaction ends.
func TestSettingsOfAConnection(t *testing.T) {
	c := newCatalog(t)
	for name, db := range map[string]*sql.DB{"write": c.write, "read": c.read} {
		var mode string
		var synchronous, foreign int
		err := errors.Join(
			db.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode),
			db.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&synchronous),
			db.QueryRowContext(t.Context(), `PRAGMA foreign_keys`).Scan(&foreign))
		if err != nil || mode != "wal" || synchronous != 2 || foreign != 1 {
			t.Errorf("%s: journal_mode %s, synchronous %d, foreign_keys %d: %v", name, mode, synchronous, foreign, err)
		}
	}
	if _, err := c.read.ExecContext(t.Context(), `DELETE FROM projects`); err == nil {
		t.Error("what is for reading writes")
	}
}

func TestAProjectsTimeZoneIsFrozen(t *testing.T) {
	c := newCatalog(t)
	if err := c.RegisterProject(t.Context(), project, "store", "UTC"); err != nil {
		t.Errorf("another name: %v", err)
	}
	err := c.RegisterProject(t.Context(), project, "market", "Europe/Berlin")
	var frozen *TimeZoneError
	if !errors.As(err, &frozen) || *frozen != (TimeZoneError{"market", "UTC", "Europe/Berlin"}) {
		t.Errorf("another time zone: %v", err)
	}
	projects, err := c.Projects(t.Context())
	if err != nil || len(projects) != 1 || projects[0] != (Project{ID: project, Name: "store", TimeZone: "UTC"}) {
		t.Errorf("got %+v, %v", projects, err)
	}
}

// The name of a project is refused for another id, new or known, and both ids are named.
func TestAProjectsNameIsOfOneID(t *testing.T) {
	c := newCatalog(t)
	refused := func(id int64) {
		t.Helper()
		err := c.RegisterProject(t.Context(), id, "shop", "UTC")
		var taken *NameTakenError
		if !errors.As(err, &taken) || *taken != (NameTakenError{"shop", id, project}) {
			t.Errorf("id %d: %v", id, err)
		}
	}
	refused(8)
	if err := c.RegisterProject(t.Context(), 8, "market", "UTC"); err != nil {
		t.Fatal(err)
	}
	refused(8)
	projects, err := c.Projects(t.Context())
	if err != nil || len(projects) != 2 || projects[0].Name != "shop" || projects[1].Name != "market" {
		t.Errorf("got %+v, %v", projects, err)
	}
	// A name that its project has given up is free.
	if err := errors.Join(c.RegisterProject(t.Context(), project, "store", "UTC"), c.RegisterProject(t.Context(), 8, "shop", "UTC")); err != nil {
		t.Error(err)
	}
}

// A project that nothing was stored for can be forgotten, and its time zone with it. One
// with rows stays.
func TestAnEmptyProjectIsForgotten(t *testing.T) {
	c := newCatalog(t)
	if err := errors.Join(c.RegisterProject(t.Context(), project, "store", "UTC"), c.RegisterProject(t.Context(), 8, "fresh", "UTC")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.write.ExecContext(t.Context(), `UPDATE projects SET seq = 1 WHERE id = ?`, project); err != nil {
		t.Fatal(err)
	}
	for _, id := range []int64{8, project, 9} {
		if err := c.ForgetProject(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if ids, err := c.ProjectIDs(t.Context()); err != nil || !slices.Equal(ids, []int64{project}) {
		t.Errorf("the projects are %v (%v)", ids, err)
	}
	if err := c.RegisterProject(t.Context(), 8, "fresh", "Asia/Tokyo"); err != nil {
		t.Error(err)
	}
}
