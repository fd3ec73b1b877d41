package catalog

import (
	"context"
	"errors"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// How long an operation that SQLite refuses as busy is repeated, as busy_timeout, and the
// pause before each repetition.
const (
	busyTime  = 30 * time.Second
	busyPause = 10 * time.Millisecond
)

// retryBusy carries out fn, an operation of a connection, and repeats it after a pause while
// SQLite refuses it because another process has the database, for busyTime at most. SQLite
// refuses at once, whatever busy_timeout is, while another process opens the catalog,
// recovers its log, or is the last to close it. An operation that is refused as busy has
// changed nothing.
func retryBusy[T any](ctx context.Context, pause func(context.Context) error, fn func() (T, error)) (T, error) {
	result, err := fn()
	if !isBusy(err) {
		return result, err
	}
	limited, cancel := context.WithTimeout(ctx, busyTime)
	defer cancel()
	for isBusy(err) && pause(limited) == nil {
		result, err = fn()
	}
	if isBusy(err) && ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return result, err
}

// pauseBusy waits for busyPause. The error is that of ctx.
func pauseBusy(ctx context.Context) error {
	timer := time.NewTimer(busyPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isBusy reports whether SQLite refused because another connection has the database. A
// transaction that read a state which was overwritten since can never go on, and is not
// busy in this sense.
func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY && e.Code() != sqlite3.SQLITE_BUSY_SNAPSHOT
}
