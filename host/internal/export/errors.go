package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// abortTimeout bounds how long an attempt that failed may take to say so to
// the plugin.
const abortTimeout = 5 * time.Second

// stopTimeout is abortTimeout for an attempt that was told to stop: a frozen
// plugin must not keep its host from stopping.
const stopTimeout = time.Second

// permanentError is what no further attempt will mend.
type permanentError struct{ message string }

func (e *permanentError) Error() string { return e.message }

func permanent(format string, args ...any) error {
	return &permanentError{fmt.Sprintf(format, args...)}
}

// Retryable says whether another attempt at a run that ended with err may
// help.
func Retryable(err error) bool {
	var p *permanentError
	var d *DivergedError
	var l *LostError
	switch {
	case errors.As(err, &p), errors.As(err, &d), errors.As(err, &l), errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, pipeline.ErrLeased), errors.Is(err, pipeline.ErrLeaseLost):
		return true
	default:
		// A fenced attempt may come again: it takes a newer fence.
		class := protocol.ClassOf(err)
		return class == protocol.Retryable || class == protocol.Fenced
	}
}

// withHint adds what the destination advises to do about an error.
func withHint(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) && e.Hint != "" {
		return fmt.Errorf("%w (%s)", err, e.Hint)
	}
	return err
}

// RetryAfter is how long the destination asks to wait before another attempt;
// 0: it does not say.
func RetryAfter(err error) time.Duration {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
