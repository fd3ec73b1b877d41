package snowflake

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// maxRetries is how often the driver repeats a request, with the same id, after a
	// transient error.
	maxRetries = 4
	// maxSessions bounds the sessions of a destination: one for the attempt, one for
	// its uploads, one for Status.
	maxSessions = 3
	// maxSessionTries is how often work is done again in a new session because its
	// session was lost.
	maxSessionTries = 3
	// restoreTime bounds a statement of restore.
	restoreTime = 30 * time.Second
)

// service holds the sessions of a destination. It is safe for concurrent use.
type service struct {
	config    config
	log       hclog.Logger
	now       func() time.Time
	connector *connector
	pool      *sql.DB // of sessions that connector has logged in
}

func newService(c config, log hclog.Logger, shared *logins) *service {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := &service{config: c, log: log, now: time.Now, connector: &connector{config: c, logins: shared, now: time.Now}}
	s.pool = sql.OpenDB(s.connector)
	s.pool.SetMaxOpenConns(maxSessions)
	s.pool.SetMaxIdleConns(1)
	return s
}

func (s *service) close() error {
	if err := s.pool.Close(); err != nil {
		return fmt.Errorf("close the sessions: %w", err)
	}
	return nil
}

// session is one session of the service, for one goroutine. Transactions and
// temporary tables belong to it.
type session struct {
	conn *sql.Conn
	tag  string // of its statements, in the query history
	lost bool   // the session must not be used again
}

// open takes a session from the pool, or logs in. The caller closes it.
func (s *service) open(ctx context.Context, tag string) (*session, error) {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return nil, s.classify("log in", "", err)
	}
	return &session{conn: conn, tag: tag}, nil
}

// close returns the session to the pool, or ends it if it is lost.
func (x *session) close() {
	if x.lost {
		_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = x.conn.Close()
}

// within runs f in a session, and again in a new one if the session is lost. f must
// be work that may be done again.
func (s *service) within(ctx context.Context, tag string, f func(x *session) error) error {
	for try := 1; ; try++ {
		x, err := s.open(ctx, tag)
		if err != nil {
			return err
		}
		err = f(x)
		x.close()
		if err == nil || !isSessionLost(err) || try == maxSessionTries || ctx.Err() != nil {
			return err
		}
	}
}

// row is a row of an answer: values by the columns' names in lower case. A column
// that is NULL is missing.
type row map[string]string

// rows runs a statement and returns the rows of its answer.
func (x *session) rows(ctx context.Context, text string, args ...any) ([]row, error) {
	found, err := x.conn.QueryContext(gosnowflake.WithQueryTag(ctx, x.tag), text, args...)
	if err != nil {
		return nil, x.failed(err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return nil, x.failed(err)
	}
	var out []row
	for found.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, x.failed(err)
		}
		r := make(row)
		for i, c := range columns {
			if values[i].Valid {
				r[strings.ToLower(c)] = values[i].String
			}
		}
		out = append(out, r)
	}
	if err := found.Err(); err != nil {
		return nil, x.failed(err)
	}
	return out, nil
}

// run runs a statement that has no answer of interest.
func (x *session) run(ctx context.Context, text string, args ...any) error {
	if _, err := x.conn.ExecContext(gosnowflake.WithQueryTag(ctx, x.tag), text, args...); err != nil {
		return x.failed(err)
	}
	return nil
}

// change runs a statement that changes rows, and returns their number.
func (x *session) change(ctx context.Context, text string, args ...any) (int64, error) {
	result, err := x.conn.ExecContext(gosnowflake.WithQueryTag(ctx, x.tag), text, args...)
	if err != nil {
		return 0, x.failed(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count the changed rows: %w", err)
	}
	return n, nil
}

// failed notes that the session is lost if the error leaves its state unknown: the
// service has ended it, or the request had no answer.
func (x *session) failed(err error) error {
	if serviceError(err) == nil || isSessionLost(err) {
		x.lost = true
	}
	return shown(err)
}

// storageQuery is the query of a URL: that of a stage in Azure or Google Cloud Storage
// is the credential for it.
var storageQuery = regexp.MustCompile(`(https?://[^\s"?]+)\?[^\s"]*`)

// shownError is an error whose text has no queries of URLs.
type shownError struct{ error }

func (e shownError) Error() string { return storageQuery.ReplaceAllString(e.error.Error(), "$1") }

func (e shownError) Unwrap() error { return e.error }

// shown returns an error of the driver as people may see it.
func shown(err error) error {
	if storageQuery.MatchString(err.Error()) {
		return shownError{err}
	}
	return err
}

// unknownCommit is the error of a COMMIT whose outcome is not known.
type unknownCommit struct{ error }

func (e unknownCommit) Unwrap() error { return e.error }

// transact runs f in a transaction, and rolls it back if f fails. A failed statement
// can leave a transaction open, and a later COMMIT would keep the rest of it.
//
// The service can end the transaction without telling its session: after five minutes
// without a statement if another session waits for its locks, or when an administrator
// says so. Without AUTOCOMMIT a change that follows begins another transaction; with it,
// the change would be committed at once. The last change of f must have the condition
// that CURRENT_TRANSACTION() is still the transaction that f is given, and f must fail
// if it changes no row. COMMIT succeeds also when no transaction is open.
func (x *session) transact(ctx context.Context, f func(transaction string) error) error {
	if err := x.run(ctx, "ALTER SESSION SET AUTOCOMMIT = FALSE"); err != nil {
		x.lost = true // AUTOCOMMIT may be off
		return err
	}
	defer x.restore(ctx, "ALTER SESSION SET AUTOCOMMIT = TRUE")
	if err := x.run(ctx, "BEGIN"); err != nil {
		x.lost = true // the transaction may have begun
		return err
	}
	transaction, err := x.transaction(ctx)
	if err == nil {
		err = f(transaction)
	}
	if err == nil {
		if err = x.run(ctx, "COMMIT"); err == nil {
			return nil
		}
		err = unknownCommit{err}
	}
	x.restore(ctx, "ROLLBACK")
	return err
}

// transaction returns the id of the session's open transaction.
func (x *session) transaction(ctx context.Context) (string, error) {
	rows, err := x.rows(ctx, `SELECT CURRENT_TRANSACTION() AS "ID"`)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || rows[0]["id"] == "" {
		return "", sdk.Retryable(errors.New("no transaction is open after BEGIN"), 0)
	}
	return rows[0]["id"], nil
}

// restore runs a statement that the session needs before other work may use it, also
// when ctx has ended. If the statement fails the session is lost.
func (x *session) restore(ctx context.Context, text string) {
	if x.lost {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	if x.run(ctx, text) != nil {
		x.lost = true
	}
}

// serviceError returns the service's own error, or nil if there was no answer. Errors
// of the driver, which has numbers of its own above 260000 and below 300000, are not
// answers.
func serviceError(err error) *gosnowflake.SnowflakeError {
	e := new(gosnowflake.SnowflakeError)
	if !errors.As(err, &e) || e.Number >= 260000 && e.Number < 300000 {
		return nil
	}
	return e
}

// isSessionLost reports whether the session has ended: work in it can be done again
// in a new one.
func isSessionLost(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return true
	}
	e := serviceError(err)
	if e == nil {
		return false
	}
	switch e.Number {
	case 390104, 390108, 390110, 390111, 390112, 390113, 390114, 390115, 390195:
		return true
	}
	return false
}

// classified reports whether an error has its class already.
func classified(err error) bool {
	e := new(sdk.Error)
	return errors.As(err, &e)
}
