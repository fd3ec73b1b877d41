package catalog

import (
	"context"
	"database/sql"
	_ "embed" // the schema
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/penstock-io/penstock/host/internal/private"
)

//go:embed schema.sql
var schema string

//go:embed schema2.sql
var schema2 string

//go:embed schema3.sql
var schema3 string

//go:embed schema4.sql
var schema4 string

//go:embed schema5.sql
var schema5 string

//go:embed schema6.sql
var schema6 string

//go:embed schema7.sql
var schema7 string

//go:embed schema8.sql
var schema8 string

//go:embed schema9.sql
var schema9 string

//go:embed schema10.sql
var schema10 string

//go:embed schema11.sql
var schema11 string

//go:embed schema12.sql
var schema12 string

// migrations bring a catalog of version i to version i+1.
var migrations = []string{schema, schema2, schema3, schema4, schema5, schema6, schema7, schema8, schema9, schema10, schema11, schema12}

// Schema returns the version of the schema that this host knows.
func Schema() int { return len(migrations) }

// NewerError says that a catalog was written by a newer version of the host.
type NewerError struct {
	Found, Known int    // versions of the schema
	Host         string // version of the host that opened the catalog last; "": it is not known
}

func (e *NewerError) Error() string {
	host := "a newer penstock"
	if e.Host != "" {
		host = "penstock " + e.Host
	}
	return fmt.Sprintf("the catalog has schema version %d, which %s wrote, and this host knows %d: a catalog cannot go back. "+
		"Nothing was changed: run that version or a later one, or restore a backup from before the upgrade into an empty directory", e.Found, host, e.Known)
}

// newer returns the error for a catalog with a newer schema.
func newer(ctx context.Context, q querier, found int) error {
	e := &NewerError{Found: found, Known: len(migrations)}
	// A newer schema may keep it elsewhere: then it is not known.
	if err := q.QueryRowContext(ctx, `SELECT host FROM identity`).Scan(&e.Host); err != nil {
		e.Host = ""
	}
	return e
}

// NoteHost notes the version of the host that uses the catalog, for hosts that are
// older than its schema.
func (c *Catalog) NoteHost(ctx context.Context, version string) error {
	if _, err := c.write.ExecContext(ctx, `UPDATE identity SET host = ? WHERE host <> ?`, version, version); err != nil {
		return fmt.Errorf("note the host's version in the catalog: %w", err)
	}
	return nil
}

// Catalog is an open catalog. It may be used concurrently, also by several
// processes.
type Catalog struct {
	write *sql.DB // one connection
	read  *sql.DB
	owner string
	path  string // of the file
}

// Open opens the catalog in the file at path, which is made when it is missing,
// and brings it to the present schema. owner names this process in its leases and
// announcements. The caller closes it.
func Open(ctx context.Context, path, owner string) (*Catalog, error) {
	if err := makePrivate(path); err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	write, err := openPool(dsn(path, "_txlock=immediate"))
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	c := &Catalog{write: write, owner: owner, path: path}
	if err := c.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, err), write.Close())
	}
	if c.read, err = openPool(dsn(path, "_pragma=query_only(1)")); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, err), write.Close())
	}
	c.read.SetMaxOpenConns(readers)
	c.read.SetMaxIdleConns(readers)
	return c, nil
}

// makePrivate makes the file when it is missing: SQLite would let others read
// it, and gives its log the mode that the file has.
func makePrivate(path string) error {
	f, err := private.OpenFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	return f.Close()
}

func dsn(path, extra string) string {
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String() +
		"?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + extra
}

// migrate applies the migrations that the catalog has not seen.
func (c *Catalog) migrate(ctx context.Context) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		var found int
		if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&found); err != nil {
			return err
		}
		if found > len(migrations) {
			return newer(ctx, tx, found)
		}
		for _, statements := range migrations[found:] {
			if _, err := tx.ExecContext(ctx, statements); err != nil {
				return fmt.Errorf("migrate: %w", err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, len(migrations)))
		return err
	})
}

// ID returns the catalog's identity: random, given when the catalog was made,
// and the same in every copy of its file.
func (c *Catalog) ID(ctx context.Context) (id string, err error) {
	if err := c.read.QueryRowContext(ctx, `SELECT id FROM identity`).Scan(&id); err != nil {
		return "", fmt.Errorf("identity of the catalog: %w", err)
	}
	return id, nil
}

// Close closes the catalog.
func (c *Catalog) Close() error { return errors.Join(c.write.Close(), c.read.Close()) }

// Update carries out fn in a transaction that excludes other writers, and
// commits when fn returns nil. fn's error is returned as it is.
func (c *Catalog) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	return within(ctx, c.write, fn)
}

// Read carries out fn in a transaction that sees one state of the catalog.
func (c *Catalog) Read(ctx context.Context, fn func(*sql.Tx) error) error {
	return within(ctx, c.read, fn)
}

func within(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("catalog: begin: %w", err)
	}
	if err := fn(tx); err != nil {
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			return errors.Join(err, fmt.Errorf("catalog: roll back: %w", rollback))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("catalog: commit: %w", err)
	}
	return nil
}

// TimeZoneError says that a project's time zone was changed.
type TimeZoneError struct{ Project, Frozen, Configured string }

func (e *TimeZoneError) Error() string {
	return fmt.Sprintf("project %s was first seen with time zone %s and is now configured with %s: "+
		"it is frozen at first use, because partitions depend on it", e.Project, e.Frozen, e.Configured)
}

// NameTakenError refuses a project whose name the catalog has for another id: the journal
// of that id would no longer be found by its name.
type NameTakenError struct {
	Project   string
	ID, Taken int64 // as configured, and in the catalog
}

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("project %[1]s is configured with id %[2]d, but its name belongs to id %[3]d in the catalog: "+
		"set its id to %[3]d to continue with the rows of that project, or give id %[2]d a name that no project has had", e.Project, e.ID, e.Taken)
}

// Project is a project that the journal has seen.
type Project struct {
	ID       int64
	Name     string
	TimeZone string
	Sequence int64
	Segments int64
	Rows     int64
	Bytes    int64
}

// RegisterProject inserts a project, or gives a known one its present name. It returns a
// *TimeZoneError if the time zone of a known project has changed, and a *NameTakenError if
// the name is that of another project; then nothing has changed.
func (c *Catalog) RegisterProject(ctx context.Context, id int64, name, timezone string) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		if err := checkName(ctx, tx, id, name); err != nil {
			return err
		}
		var frozen string
		err := tx.QueryRowContext(ctx, `SELECT timezone FROM projects WHERE id = ?`, id).Scan(&frozen)
		if errors.Is(err, sql.ErrNoRows) {
			_, err = tx.ExecContext(ctx, `INSERT INTO projects (id, name, timezone) VALUES (?, ?, ?)`, id, name, timezone)
			frozen = timezone
		} else if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE projects SET name = ? WHERE id = ?`, name, id)
		}
		if err != nil {
			return fmt.Errorf("register project %s: %w", name, err)
		}
		if frozen != timezone {
			return &TimeZoneError{Project: name, Frozen: frozen, Configured: timezone}
		}
		return nil
	})
}

// checkName returns a *NameTakenError if another project than id has the name.
func checkName(ctx context.Context, tx *sql.Tx, id int64, name string) error {
	var taken int64
	err := tx.QueryRowContext(ctx, `SELECT id FROM projects WHERE name = ? AND id <> ?`, name, id).Scan(&taken)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("register project %s: %w", name, err)
	}
	return &NameTakenError{Project: name, ID: id, Taken: taken}
}

// ForgetProject forgets a project that nothing was ever stored for: its time zone is not
// frozen any more. Another project stays.
func (c *Catalog) ForgetProject(ctx context.Context, id int64) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM projects WHERE id = ? AND seq = 0
			AND NOT EXISTS (SELECT 1 FROM pipelines WHERE project = projects.id) AND NOT EXISTS (SELECT 1 FROM pending WHERE project = projects.id)`, id)
		if err != nil {
			return fmt.Errorf("forget project %d: %w", id, err)
		}
		return nil
	})
}

// Projects returns all projects, by id, with the totals of their journals.
func (c *Catalog) Projects(ctx context.Context) ([]Project, error) {
	var projects []Project
	err := c.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT p.id, p.name, p.timezone, p.seq, COUNT(s.seq), COALESCE(SUM(s.row_count), 0), COALESCE(SUM(s.bytes), 0)
			FROM projects p LEFT JOIN segments s ON s.project = p.id GROUP BY p.id ORDER BY p.id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var p Project
			if err := rows.Scan(&p.ID, &p.Name, &p.TimeZone, &p.Sequence, &p.Segments, &p.Rows, &p.Bytes); err != nil {
				return err
			}
			projects = append(projects, p)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return projects, nil
}

// ProjectIDs returns the ids of all projects, also of those that are not configured any
// more.
func (c *Catalog) ProjectIDs(ctx context.Context) ([]int64, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT id FROM projects ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list projects: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
