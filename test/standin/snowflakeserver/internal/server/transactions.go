package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// transaction is one transaction of a session. It is used by one statement at a time.
type transaction struct {
	id      int64 // milliseconds since 1970 of its begin, made unique
	session *session
	started time.Time
	// implicit is that of a statement outside of BEGIN.
	implicit bool
	// aborted is set by TRANSACTION_ABORT_ON_ERROR: only COMMIT and ROLLBACK follow.
	aborted bool
	touched map[*table]bool
	loaded  []loadedFile
	// emptied are tables whose load metadata the commit forgets.
	emptied []*table
}

// loadedFile is an entry of load metadata that counts from the commit on.
type loadedFile struct {
	table *table
	key   string
	at    time.Time
}

// transactions are those that are open, with the locks of tables.
type transactions struct {
	engine *engine
	now    func() time.Time
	lag    lag

	mu      sync.Mutex
	last    int64
	holders map[string]*transaction // by the physical table
	waiting map[*transaction]string
	// changed is closed, and replaced, when a lock is released or the clock jumps.
	changed chan struct{}
}

func newTransactions(e *engine, now func() time.Time) *transactions {
	return &transactions{engine: e, now: now, holders: map[string]*transaction{}, waiting: map[*transaction]string{}, changed: make(chan struct{})}
}

func (ts *transactions) begin(ctx context.Context, s *session, implicit bool) (*transaction, error) {
	ts.mu.Lock()
	ts.last = max(ts.last+1, ts.now().UnixMilli()*1000)
	tx := &transaction{id: ts.last, session: s, started: ts.now(), implicit: implicit, touched: map[*table]bool{}}
	ts.mu.Unlock()
	_, err := ts.engine.db.ExecContext(ctx, "INSERT INTO open_tx VALUES (?)", tx.id)
	return tx, err
}

// visible is the condition of rows that a transaction sees; tx may be nil.
func visible(alias string, tx *transaction) string {
	id := int64(0)
	if tx != nil {
		id = tx.id
	}
	return fmt.Sprintf("(%[1]s.x_min = %[2]d OR %[1]s.x_min NOT IN (SELECT id FROM open_tx)) AND (%[1]s.x_max = 0 OR (%[1]s.x_max <> %[2]d AND %[1]s.x_max IN (SELECT id FROM open_tx)))", alias, id)
}

// commit makes the changes visible to all, at once.
func (ts *transactions) commit(tx *transaction) error {
	late := ts.lag.commit(tx)
	if err := ts.exec("DELETE FROM open_tx WHERE id = ?", tx.id); err != nil {
		return err
	}
	for t := range tx.touched {
		if late {
			break // other sessions see the former rows
		}
		_ = ts.exec("DELETE FROM "+t.physical+" WHERE x_max = ?", tx.id) // invisible already
	}
	for _, t := range tx.emptied {
		t.forgetLoaded()
	}
	for _, l := range tx.loaded {
		l.table.markLoaded(l.key, l.at)
	}
	ts.release(tx)
	return nil
}

// rollback removes the changes.
func (ts *transactions) rollback(tx *transaction) error {
	var err error
	for t := range tx.touched {
		err = errors.Join(err, ts.exec("DELETE FROM "+t.physical+" WHERE x_min = ?", tx.id), ts.exec("UPDATE "+t.physical+" SET x_max = 0 WHERE x_max = ?", tx.id))
	}
	err = errors.Join(err, ts.exec("DELETE FROM open_tx WHERE id = ?", tx.id))
	ts.release(tx)
	return err
}

// exec runs a statement of DuckDB again while another one changes the same rows. A table
// that was dropped counts as done.
func (ts *transactions) exec(text string, args ...any) error {
	for {
		_, err := ts.engine.db.Exec(text, args...)
		var d *duckdb.Error
		if !errors.As(err, &d) {
			return err
		}
		switch d.Type {
		case duckdb.ErrorTypeTransaction:
			continue
		case duckdb.ErrorTypeCatalog:
			return nil
		}
		return err
	}
}

// write runs changes of rows in one transaction of DuckDB, so that a statement that fails
// leaves nothing.
func (ts *transactions) write(ctx context.Context, do func(c *sql.Conn) error) error {
	c, err := ts.engine.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for {
		if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
		err := do(c)
		if err == nil {
			_, err = c.ExecContext(ctx, "COMMIT")
		}
		if err == nil {
			return nil
		}
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		var d *duckdb.Error
		if errors.As(err, &d) && d.Type == duckdb.ErrorTypeTransaction && ctx.Err() == nil {
			continue
		}
		return err
	}
}

// idle is how long a session that holds a lock may do nothing while another one waits
// (https://docs.snowflake.com/en/sql-reference/transactions).
const idle = 5 * time.Minute

// lock takes the lock of a table for a transaction, and waits for it at most for the
// time that the session says.
func (ts *transactions) lock(ctx context.Context, tx *transaction, t *table, statement string, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		ts.mu.Lock()
		holder := ts.holders[t.physical]
		if holder == nil || holder == tx {
			ts.holders[t.physical] = tx
			delete(ts.waiting, tx)
			ts.mu.Unlock()
			ts.lag.catchUp(tx.session.id)
			return nil
		}
		ts.waiting[tx] = t.physical
		deadlock := ts.circle(tx)
		changed := ts.changed
		ts.mu.Unlock()
		if deadlock {
			ts.give(tx)
			return refuse(625, "57014", "Statement '%s' has been aborted because of a deadlock: transaction %d has locked table '%s'.", statement, holder.id, t.name)
		}
		if !holder.implicit && ts.now().Sub(holder.session.lastUsed()) > idle {
			if holder.session.abandon(holder) {
				if err := ts.rollback(holder); err != nil {
					return err
				}
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			ts.give(tx)
			return ctx.Err()
		case <-timer.C:
			ts.give(tx)
			return refuse(625, "57014", "Statement '%s' has locked table '%s' in transaction %d and this lock has not yet been released.\nYour statement '%s' was aborted because it waited for the lock longer than LOCK_TIMEOUT.", holder.session.lastStatement(), t.name, holder.id, statement)
		}
	}
}

func (ts *transactions) give(tx *transaction) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.waiting, tx)
}

// circle reports whether a transaction waits for itself. ts.mu is held.
func (ts *transactions) circle(tx *transaction) bool {
	for at := tx; ; {
		t := ts.waiting[at]
		if t == "" {
			return false
		}
		if at = ts.holders[t]; at == nil || at == tx {
			return at == tx
		}
	}
}

func (ts *transactions) release(tx *transaction) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t, holder := range ts.holders {
		if holder == tx {
			delete(ts.holders, t)
		}
	}
	ts.wake()
}

// wake lets the waiting look again. ts.mu is held.
func (ts *transactions) wake() {
	close(ts.changed)
	ts.changed = make(chan struct{})
}

// jumped tells the waiting that the clock has moved.
func (ts *transactions) jumped() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.wake()
}
