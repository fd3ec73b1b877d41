package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

// pool opens a database with one connection and a table of ten numbers.
func pool(t *testing.T) *sql.DB {
	t.Helper()
	db, err := openPool(dsn(filepath.Join(t.TempDir(), "numbers.db"), ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	must(t, db, `CREATE TABLE numbers (n INTEGER PRIMARY KEY)`)
	for n := range 10 {
		must(t, db, `INSERT INTO numbers (n) VALUES (?)`, n)
	}
	return db
}

func must(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// kept returns the texts that the pool's connection keeps.
func kept(t *testing.T, db *sql.DB) (texts []string) {
	t.Helper()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Raw(func(raw any) error {
		for text, s := range raw.(*conn).kept {
			if s.busy {
				return fmt.Errorf("%q is busy", text)
			}
			texts = append(texts, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(texts)
	return texts
}

func TestStatementsAreKept(t *testing.T) {
	t.Parallel()
	db := pool(t)
	const count = `SELECT COUNT(*) FROM numbers WHERE n >= ?`
	for least := range 10 {
		var n int
		if err := db.QueryRowContext(t.Context(), count, least).Scan(&n); err != nil || n != 10-least {
			t.Fatalf("%d numbers from %d on: %v", n, least, err)
		}
	}
	if got, want := kept(t, db), []string{`INSERT INTO numbers (n) VALUES (?)`, count}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

// A query inside of the rows of the same text has rows of its own.
func TestANestedQueryOfTheSameText(t *testing.T) {
	t.Parallel()
	db := pool(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	read := func(nested func(n int)) (all []int) {
		rows, err := tx.QueryContext(t.Context(), `SELECT n FROM numbers WHERE n < ? ORDER BY n`, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
			nested(n)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := []int{0, 1, 2}
	outer := read(func(int) {
		if inner := read(func(int) {}); !slices.Equal(inner, want) {
			t.Errorf("inner rows: %v", inner)
		}
	})
	if !slices.Equal(outer, want) {
		t.Errorf("outer rows: %v", outer)
	}
}

// A kept statement works after it has failed, was cancelled or was left in the middle of
// its rows, and follows a schema that changes.
func TestAKeptStatementWorksAgain(t *testing.T) {
	t.Parallel()
	db := pool(t)
	const insert, list = `INSERT INTO numbers (n) VALUES (?)`, `SELECT * FROM numbers WHERE n >= ? ORDER BY n`
	if _, err := db.ExecContext(t.Context(), insert, 3); err == nil {
		t.Fatal("a number was inserted twice")
	}
	must(t, db, insert, 10)

	rows, err := db.QueryContext(t.Context(), list, 0)
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	const endless = `WITH RECURSIVE c (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM c) SELECT n FROM c`
	cancelled, cancel := context.WithCancel(t.Context())
	if rows, err = db.QueryContext(cancelled, endless, 7); err != nil || !rows.Next() {
		t.Fatal(err)
	}
	cancel()
	for rows.Next() { // until database/sql has seen it
	}
	if err := rows.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query ended with %v", err)
	}
	var first int
	if err := db.QueryRowContext(t.Context(), endless, 8).Scan(&first); err != nil || first != 8 {
		t.Errorf("after the query was cancelled: %d, %v", first, err)
	}

	must(t, db, `ALTER TABLE numbers ADD COLUMN name TEXT NOT NULL DEFAULT 'none'`)
	var n int
	var name string
	if err := db.QueryRowContext(t.Context(), list, 10).Scan(&n, &name); err != nil || n != 10 || name != "none" {
		t.Errorf("after the schema has changed: %d, %q, %v", n, name, err)
	}
}

// However a use of a kept statement ends, the connection reads what others have written
// since, and keeps no checkpoint from emptying the log.
func TestAKeptStatementHoldsNothingBack(t *testing.T) {
	t.Parallel()
	db := pool(t)
	var number, name, path string
	if err := db.QueryRowContext(t.Context(), `PRAGMA database_list`).Scan(&number, &name, &path); err != nil {
		t.Fatal(err)
	}
	other, err := openPool(dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const list, insert = `SELECT n FROM numbers WHERE n >= ? ORDER BY n`, `INSERT INTO numbers (n) VALUES (?)`
	left := func(ctx context.Context, tx *sql.Tx) {
		rows, err := tx.QueryContext(ctx, list, 0)
		if err != nil || !rows.Next() {
			t.Fatal(err)
		}
		if err := errors.Join(rows.Close(), rows.Err()); err != nil {
			t.Error(err)
		}
	}
	for i, end := range []func(context.Context, context.CancelFunc, *sql.Tx) error{
		func(ctx context.Context, _ context.CancelFunc, tx *sql.Tx) error {
			left(ctx, tx)
			return tx.Commit()
		},
		func(ctx context.Context, _ context.CancelFunc, tx *sql.Tx) error {
			left(ctx, tx)
			if _, err := tx.ExecContext(ctx, insert, 3); err == nil {
				t.Error("a number was inserted twice")
			}
			return tx.Rollback()
		},
		func(ctx context.Context, cancel context.CancelFunc, tx *sql.Tx) error {
			rows, err := tx.QueryContext(ctx, list, 0)
			if err != nil || !rows.Next() {
				t.Fatal(err)
			}
			cancel()
			for rows.Next() {
			}
			if err := rows.Close(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
				return err
			}
			return nil
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(ctx, cancel, tx); err != nil {
			t.Errorf("end %d: %v", i, err)
		}
		cancel()
		must(t, other, insert, 100+i)
		var busy, pages, moved int
		if err := other.QueryRowContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil || busy != 0 {
			t.Errorf("end %d: the log is held: %d, %v", i, busy, err)
		}
		var latest int
		if err := db.QueryRowContext(t.Context(), `SELECT n FROM numbers WHERE n >= ? ORDER BY n DESC`, 0).Scan(&latest); err != nil || latest != 100+i {
			t.Errorf("end %d: the latest number is %d, %v", i, latest, err)
		}
	}
}

// However many texts there are, a connection keeps a bounded number of them.
func TestKeptStatementsAreBounded(t *testing.T) {
	t.Parallel()
	db := pool(t)
	for i := range 2*mostStatements + 10 {
		var n int
		if err := db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT n + %d FROM numbers WHERE n = ?`, i), 1).Scan(&n); err != nil || n != i+1 {
			t.Fatalf("query %d: %d, %v", i, n, err)
		}
	}
	if got := len(kept(t, db)); got == 0 || got > mostStatements {
		t.Errorf("%d statements are kept", got)
	}
}
