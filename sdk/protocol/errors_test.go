package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAnErrorKeepsItsClassOnTheWire(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such bucket")
	tests := map[string]struct {
		in   error
		want Error
	}{
		"retryable":     {&Error{Class: Retryable, RetryAfter: 90 * time.Second, Err: cause}, Error{Class: Retryable, RetryAfter: 90 * time.Second}},
		"permanent":     {&Error{Class: Permanent, Err: cause}, Error{Class: Permanent}},
		"configuration": {&Error{Class: Configuration, Hint: "create it", Err: cause}, Error{Class: Configuration, Hint: "create it"}},
		"fenced":        {&Error{Class: Fenced, Err: cause}, Error{Class: Fenced}},
		"wrapped":       {fmt.Errorf("open: %w", &Error{Class: Fenced, Err: cause}), Error{Class: Fenced}},
		"without class": {cause, Error{Class: Retryable}},
		"of another service": {
			&Error{Class: Permanent, Err: status.Error(codes.Unavailable, "no such bucket")}, Error{Class: Permanent},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := fromStatus(t.Context(), ToStatus(tt.in))
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("error = %v, want an Error", err)
			}
			if got.Class != tt.want.Class || got.RetryAfter != tt.want.RetryAfter || got.Hint != tt.want.Hint {
				t.Errorf("error = %+v, want %+v", got, tt.want)
			}
			if !strings.Contains(got.Error(), "no such bucket") || errors.Is(got, ErrLost) {
				t.Errorf("error says %q", got)
			}
		})
	}
}

func TestAnErrorOfAnExtentIsKnownOnTheWire(t *testing.T) {
	t.Parallel()
	in := fmt.Errorf("write: %w", &Error{Class: Retryable, Err: fmt.Errorf("%w: open x.seg", ErrExtent)})
	err := fromStatus(t.Context(), ToStatus(in))
	if !errors.Is(err, ErrExtent) || ClassOf(err) != Retryable || !strings.Contains(err.Error(), "open x.seg") {
		t.Errorf("error = %v of class %s, want ErrExtent", err, ClassOf(err))
	}
	if err := fromStatus(t.Context(), ToStatus(&Error{Class: Retryable, Err: errors.New("x")})); errors.Is(err, ErrExtent) {
		t.Errorf("another error is ErrExtent: %v", err)
	}
}

// A plugin cannot take more than was sent, which would let the host run ahead.
func TestCreditOfExtents(t *testing.T) {
	t.Parallel()
	c := newCredit()
	c.sent(3 << 20)
	if !c.room() {
		t.Error("3 MiB leave no room")
	}
	c.sent(3 << 20)
	if c.room() {
		t.Error("6 MiB leave room")
	}
	if err := c.taken(3 << 20); err != nil || !c.room() {
		t.Errorf("after 3 MiB were taken: %v, room %v", err, c.room())
	}
	if err := c.taken(4 << 20); ClassOf(err) != Permanent {
		t.Errorf("4 MiB of 3 were taken: %v", err)
	}
}

func TestAStatusWithoutDetailGetsAClass(t *testing.T) {
	t.Parallel()
	tests := map[codes.Code]Class{
		codes.Unavailable: Retryable, codes.ResourceExhausted: Retryable, codes.Aborted: Retryable,
		codes.DeadlineExceeded: Retryable, codes.Canceled: Retryable,
		codes.Internal: Permanent, codes.Unimplemented: Permanent, codes.InvalidArgument: Permanent,
	}
	for code, want := range tests {
		err := fromStatus(t.Context(), status.Error(code, "x"))
		if got := ClassOf(err); got != want {
			t.Errorf("%s: class %s, want %s", code, got, want)
		}
		if lost := code == codes.Unavailable || code == codes.Canceled; errors.Is(err, ErrLost) != lost {
			t.Errorf("%s: ErrLost is %v, want %v", code, !lost, lost)
		}
	}
}

func TestTheCallersContextComesFirst(t *testing.T) {
	t.Parallel()
	why := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := fromStatus(ctx, status.Error(codes.Canceled, "context canceled")); !errors.Is(err, why) {
		t.Errorf("error = %v, want the context's cause", err)
	}
	if fromStatus(ctx, nil) != nil || ToStatus(nil) != nil {
		t.Error("nil is an error")
	}
}

func TestLongAndBrokenTextsTravel(t *testing.T) {
	t.Parallel()
	err := fromStatus(t.Context(), ToStatus(&Error{
		Class: Permanent, Err: errors.New("\xff" + strings.Repeat("x", 1<<20)), Hint: "\xfe",
	}))
	var got *Error
	if !errors.As(err, &got) || got.Class != Permanent || len(got.Error()) > maxText+16 {
		t.Errorf("error of %d bytes: %.40v", len(err.Error()), err)
	}
}
