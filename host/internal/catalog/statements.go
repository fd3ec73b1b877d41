package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"modernc.org/sqlite"
)

// openPool returns a pool of connections to the database that name describes. Each
// connection keeps the statements that it has prepared: SQLite spends more time parsing
// most of the catalog's statements than carrying them out.
func openPool(name string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(name)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

// readers is how many connections read at a time. All of them stay open, with their
// statements.
const readers = 4

// connector opens connections that keep their statements.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := opened.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver of SQLite lacks an interface of connections"), opened.Close())
	}
	return &conn{sqliteConn: inner, kept: map[string]*statement{}}, nil
}

// sqliteConn is a connection of the driver.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// mostStatements is how many statements a connection keeps, some 10 KiB each. It is
// more than the catalog has; the lists of places in otherClaims make more texts.
const mostStatements = 256

// conn is a connection that keeps the statements it has prepared, by their text. Like
// every connection of database/sql it is used by one goroutine at a time.
type conn struct {
	sqliteConn
	kept map[string]*statement
}

// statement is a kept statement.
type statement struct {
	prepared
	// busy is set while rows are read from it: a second query of the same text has a
	// statement of its own.
	busy bool
}

// prepared is a statement of the driver.
type prepared interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// ExecContext implements driver.ExecerContext. A text without arguments may hold several
// statements, and is not kept.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &rows{Rows: r, of: s}, nil
}

// statement returns the statement of a text, which it prepares on first use; nil while it
// is busy.
func (c *conn) statement(ctx context.Context, query string) (*statement, error) {
	if s := c.kept[query]; s != nil {
		if s.busy {
			return nil, nil
		}
		return s, nil
	}
	opened, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p, ok := opened.(prepared)
	if !ok {
		return nil, errors.Join(errors.New("the driver of SQLite lacks an interface of statements"), opened.Close())
	}
	if len(c.kept) >= mostStatements {
		if err := c.drop(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	s := &statement{prepared: p}
	c.kept[query] = s
	return s, nil
}

// drop closes the statements that are not busy.
func (c *conn) drop() (err error) {
	for query, s := range c.kept {
		if !s.busy {
			delete(c.kept, query)
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// Close implements driver.Conn. No rows are open then.
func (c *conn) Close() error { return errors.Join(c.drop(), c.sqliteConn.Close()) }

// Unwrap returns the driver's connection.
func (c *conn) Unwrap() driver.Conn { return c.sqliteConn }

// rows are the rows of a kept statement.
type rows struct {
	driver.Rows
	of *statement
}

// Close implements driver.Rows.
func (r *rows) Close() error {
	r.of.busy = false
	return r.Rows.Close()
}
