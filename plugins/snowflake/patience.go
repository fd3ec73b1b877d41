package snowflake

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times of patience.
const (
	// silenceTime is how long the service may send nothing: it answers within 45 s that a
	// statement still runs.
	silenceTime = 2 * time.Minute
	// stallTime is how long the storage of an internal stage may take no byte of an upload.
	stallTime = 3 * time.Minute
	// graceTime is how long the driver may take to end a statement that was given up, and a
	// session.
	graceTime = 5 * time.Second
)

// errSilent is the error of a statement that was given up since the service was silent.
// Whether it has been carried out is not known.
var errSilent = errors.New("the service has sent nothing")

// patience bounds how long calls of the driver last; zero is the default. The driver
// repeats a request that has no answer, and asks the service to cancel its statement
// without regard to the end of a context: a service that accepts connections and never
// answers would hold it for half an hour.
type patience struct {
	silence, grace, stall time.Duration
}

// watch returns a context that ends when no answer has begun for the time of silence,
// with errSilent as its cause. The caller calls done when the watch is over.
func (p *patience) watch(ctx context.Context) (watched context.Context, done func()) {
	limit := cmp.Or(p.silence, silenceTime)
	watched, giveUp := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { giveUp(fmt.Errorf("%w for %s", errSilent, limit)) })
	heard := func() {
		if timer.Stop() {
			timer.Reset(limit)
		}
	}
	return httptrace.WithClientTrace(watched, &httptrace.ClientTrace{GotFirstResponseByte: heard}), func() { timer.Stop() }
}

// outcome holds the values that a call of the driver returns.
type outcome[T any] struct {
	value T
	err   error
}

// await runs a call of the driver until it returns, or until ctx has ended and the grace
// is over; left reports that the call then goes on. The error of a call that ctx has ended
// is the cause of its end.
func await[T any](ctx context.Context, p *patience, calls *sync.WaitGroup, call func(context.Context) (T, error)) (result T, left bool, err error) {
	ended := make(chan outcome[T], 1)
	calls.Go(func() {
		value, err := call(ctx)
		ended <- outcome[T]{value, err}
	})
	var out outcome[T]
	select {
	case out = <-ended:
	case <-ctx.Done():
		timer := time.NewTimer(cmp.Or(p.grace, graceTime))
		defer timer.Stop()
		select {
		case out = <-ended:
		case <-timer.C:
			return result, true, context.Cause(ctx)
		}
	}
	if out.err != nil && ctx.Err() != nil && serviceError(out.err) == nil {
		return result, false, context.Cause(ctx)
	}
	return out.value, false, out.err
}

// driverConn are the methods of the driver's connection that are used.
type driverConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
}

// patientConn is a session of the driver. A call that its context or patience has ended
// can go on in the background; the session is then not used again.
type patientConn struct {
	driverConn
	patience *patience
	calls    sync.WaitGroup
	left     atomic.Bool // a call goes on in the background
}

// connect logs in. A session that comes too late is ended.
func (p *patience) connect(ctx context.Context, login func(context.Context) (driver.Conn, error)) (driver.Conn, error) {
	ctx, done := p.watch(ctx)
	defer done()
	conn, _, err := await(ctx, p, new(sync.WaitGroup), func(ctx context.Context) (driver.Conn, error) {
		conn, err := login(ctx)
		if err == nil && ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), conn.Close())
		}
		return conn, err
	})
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(driverConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connection is a %T", conn), conn.Close())
	}
	return &patientConn{driverConn: inner, patience: p}, nil
}

// IsValid implements driver.Validator.
func (c *patientConn) IsValid() bool { return !c.left.Load() }

// wait waits for a call of the driver.
func wait[T any](ctx context.Context, c *patientConn, call func(context.Context) (T, error)) (T, error) {
	result, left, err := await(ctx, c.patience, &c.calls, call)
	if left {
		c.left.Store(true)
	}
	return result, err
}

// ExecContext implements driver.ExecerContext.
func (c *patientConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	ctx, done := c.patience.watch(ctx)
	defer done()
	return wait(ctx, c, func(ctx context.Context) (driver.Result, error) { return c.driverConn.ExecContext(ctx, text, args) })
}

// QueryContext implements driver.QueryerContext.
func (c *patientConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	watch := c.patience.watch
	if strings.HasPrefix(text, uploadWord) {
		watch = c.patience.watchUpload
	}
	ctx, done := watch(ctx)
	defer done()
	return wait(ctx, c, func(ctx context.Context) (driver.Rows, error) { return c.driverConn.QueryContext(ctx, text, args) })
}

// Close implements driver.Conn. It waits for the end of the session, but no longer than
// for the grace.
func (c *patientConn) Close() error {
	ended, end := context.WithCancel(context.Background())
	end()
	_, left, err := await(ended, c.patience, new(sync.WaitGroup), func(context.Context) (struct{}, error) {
		c.calls.Wait()
		return struct{}{}, c.driverConn.Close()
	})
	if left || errors.Is(err, context.Canceled) {
		return nil // the service ends it when it is idle
	}
	return err
}
