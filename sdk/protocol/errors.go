package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// Class decides the host's reaction to an error.
type Class int

// The classes.
const (
	Retryable     Class = iota + 1 // trying again later may help
	Permanent                      // trying again will not help; a person has to look
	Configuration                  // the configuration, a credential or a permission is wrong
	Fenced                         // a newer fence holds the target; this writer must stop
)

// String names the class for people and for metrics.
func (c Class) String() string {
	switch c {
	case Retryable:
		return "retryable"
	case Permanent:
		return "permanent"
	case Configuration:
		return "configuration"
	case Fenced:
		return "fenced"
	default:
		return fmt.Sprintf("unknown class %d", int(c))
	}
}

// ErrLost is in the chain of an error when the connection to the plugin was
// lost, or the stream of an export was cut.
var ErrLost = errors.New("connection to the plugin was lost")

// ErrUnknown is in the chain of Exporter.Commit's errors: the run may be
// committed or not, and Status knows.
var ErrUnknown = errors.New("outcome of the commit is unknown")

// ErrExtent is in the chain of an error when the plugin could not read the payload
// of an Extent, or found other bytes than were announced. The same run with its
// payloads sent either succeeds, or fails for a reason that the host itself finds.
var ErrExtent = errors.New("a payload could not be read from the file of the host")

// Error is an error of a destination with its class.
type Error struct {
	Class Class
	// RetryAfter is how long to wait at least before trying again; 0: the host
	// decides.
	RetryAfter time.Duration
	// Hint is the next step for the user, such as a permission to grant; may be
	// empty.
	Hint string
	// Err is the underlying error; it must not be nil.
	Err error
}

// Error returns the text of Err, without the hint.
func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of an error. One without a class is retryable: a
// run can always be tried again.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Retryable
}

// classCodes are the gRPC codes of the classes, for clients that do not read the
// ErrorDetail.
var classCodes = map[Class]codes.Code{
	Retryable:     codes.Unavailable,
	Permanent:     codes.FailedPrecondition,
	Configuration: codes.InvalidArgument,
	Fenced:        codes.PermissionDenied,
}

// maxText is the most bytes of an error's text and of its hint on the wire:
// they travel in a header.
const maxText = 8 << 10

// ToStatus makes the gRPC status of a plugin's error.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	class := ClassOf(err)
	detail := &pb.ErrorDetail{Class: pb.ErrorClass(class), Extent: errors.Is(err, ErrExtent)}
	var e *Error
	if errors.As(err, &e) {
		detail.Hint = text(e.Hint)
		if e.RetryAfter > 0 {
			detail.RetryAfter = durationpb.New(e.RetryAfter)
		}
	}
	code, ok := classCodes[class]
	if !ok {
		code = codes.Unknown
	}
	s, detailErr := status.New(code, text(err.Error())).WithDetails(detail)
	if detailErr != nil {
		return status.Error(code, text(err.Error()))
	}
	return s.Err()
}

func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + " …"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// fromStatus converts an error that gRPC returned to the host. If ctx has ended,
// it returns the context's error, since the host itself ended the call.
func fromStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s, ok := status.FromError(err)
	if !ok {
		return &Error{Class: Retryable, Err: fmt.Errorf("%w: %w", ErrLost, err)}
	}
	for _, d := range s.Details() {
		if detail, ok := d.(*pb.ErrorDetail); ok {
			return fromDetail(s, detail)
		}
	}
	e := &Error{Class: Permanent, Err: fmt.Errorf("%s: %s", s.Code(), s.Message())}
	switch s.Code() {
	case codes.Unavailable, codes.Canceled:
		e.Class, e.Err = Retryable, fmt.Errorf("%w: %s", ErrLost, s.Message())
	case codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		e.Class = Retryable
	}
	if _, limited := ctx.Deadline(); limited && s.Code() == codes.DeadlineExceeded {
		// The plugin's side of the call has come to the deadline first.
		e.Err = fmt.Errorf("%w: %s", context.DeadlineExceeded, s.Message())
	}
	return e
}

func fromDetail(s *status.Status, detail *pb.ErrorDetail) error {
	e := &Error{Class: Class(detail.GetClass()), Hint: detail.GetHint(), Err: errors.New(s.Message())}
	if _, known := classCodes[e.Class]; !known {
		e.Class = Permanent
	}
	if detail.GetExtent() {
		e.Err = &extentError{s.Message()}
	}
	if d := detail.GetRetryAfter(); d.IsValid() && d.AsDuration() > 0 {
		e.RetryAfter = d.AsDuration()
	}
	return e
}

// extentError is an ErrExtent that the plugin has described.
type extentError struct{ text string }

func (e *extentError) Error() string { return e.text }

func (*extentError) Unwrap() error { return ErrExtent }
