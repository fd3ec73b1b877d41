package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// abortTimeout bounds the Abort call that tells the plugin that an attempt has
// failed.
const abortTimeout = 5 * time.Second

// stopTimeout is abortTimeout for an attempt that was told to stop: a frozen
// plugin must not keep its host from stopping.
const stopTimeout = time.Second

// permanentError is a failure that no retry can fix, such as a receipt that
// does not agree with the rows that were sent.
type permanentError struct{ message string }

func (e *permanentError) Error() string { return e.message }

func permanent(format string, args ...any) error {
	return &permanentError{fmt.Sprintf(format, args...)}
}

// Retryable reports whether another attempt may succeed at a run whose attempt
// ended with err.
func Retryable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	// A fenced attempt may be retried: the retry has a newer fence.
	class := classOf(err)
	return class == protocol.Retryable || class == protocol.Fenced
}

// classOf returns the class of an error that ended an attempt.
func classOf(err error) protocol.Class {
	var p *permanentError
	var d *DivergedError
	var l *LostError
	switch {
	case errors.As(err, &p), errors.As(err, &d), errors.As(err, &l):
		return protocol.Permanent
	case errors.Is(err, pipeline.ErrLeased), errors.Is(err, pipeline.ErrLeaseLost), errors.Is(err, pipeline.ErrPaused):
		return protocol.Retryable
	default:
		return protocol.ClassOf(err)
	}
}

// withHint puts the destination's hint before the text of err, if it has one.
func withHint(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) && e.Hint != "" {
		return fmt.Errorf("%s (%w)", e.Hint, err)
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
