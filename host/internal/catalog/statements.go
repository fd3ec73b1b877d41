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
	return sql.OpenDB(connector{c, pauseBusy}), nil
}

// readers is how many connections read at a time. All of them stay open, with their
// statements.
const readers = 4

// connector opens connections that keep their statements and wait while the database is
// busy.
type connector struct {
	driver.Connector
	pause func(context.Context) error // before a refused operation is repeated; its error gives up
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := retryBusy(ctx, c.pause, func() (driver.Conn, error) { return c.Connector.Connect(ctx) })
	if err != nil {
		return nil, err
	}
	inner, ok := opened.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver of SQLite lacks an interface of connections"), opened.Close())
	}
	return &conn{sqliteConn: inner, kept: map[string]*statement{}, pause: c.pause}, nil
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
	kept  map[string]*statement
	pause func(context.Context) error // of its connector
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	return retryBusy(ctx, c.pause, func() (driver.Tx, error) { return c.sqliteConn.BeginTx(ctx, options) })
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
// statements, and is not kept. Several statements are carried out in an immediate
// transaction only, which has its locks: none of them is refused as busy.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return retryBusy(ctx, c.pause, func() (driver.Result, error) { return c.exec(ctx, query, args) })
}

func (c *conn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
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

// QueryContext implements driver.QueryerContext. The driver reads the first row in it, so
// that it gets its locks here and not while rows are read.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return retryBusy(ctx, c.pause, func() (driver.Rows, error) { return c.query(ctx, query, args) })
}

func (c *conn) query(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
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
