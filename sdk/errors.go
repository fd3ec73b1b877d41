package sdk

import (
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// An error's class tells the host what to do. An error without one is
// retryable: a run can always be tried again. The functions below return nil
// for nil.

// Error is an error with a class and a hint. The functions below return it;
// errors.As finds it.
type Error = protocol.Error

// Retryable says that trying again later may help: the service is overloaded,
// the network failed. after is how long to wait at least; 0: the host decides.
func Retryable(err error, after time.Duration) error {
	return classified(err, protocol.Error{Class: protocol.Retryable, RetryAfter: after})
}

// Permanent says that trying again will not help: a person has to look.
func Permanent(err error) error {
	return classified(err, protocol.Error{Class: protocol.Permanent})
}

// Configuration says that the configuration, a credential or a permission is
// wrong. hint tells the user the next step: which permission to grant, and how.
func Configuration(err error, hint string) error {
	return classified(err, protocol.Error{Class: protocol.Configuration, Hint: hint})
}

// Fenced says that a newer fence holds the target. This attempt must stop; the
// newer one goes on.
func Fenced(err error) error {
	return classified(err, protocol.Error{Class: protocol.Fenced})
}

func classified(err error, e protocol.Error) error {
	if err == nil {
		return nil
	}
	e.Err = err
	return &e
}

// Severity tells an error from a warning.
type Severity = protocol.Severity

// The severities.
const (
	SeverityError   = protocol.SeverityError
	SeverityWarning = protocol.SeverityWarning
)

// Diagnostic is one mistake in a configuration, with its attribute.
type Diagnostic = protocol.Diagnostic

// Diagnostics are the mistakes in a configuration, all at once. New returns
// them as its error.
type Diagnostics []Diagnostic

// Error lists the mistakes, for logs; people see each with its place.
func (d Diagnostics) Error() string {
	texts := make([]string, len(d))
	for i, m := range d {
		texts[i] = m.Summary
		if m.Attribute != "" {
			texts[i] = m.Attribute + ": " + m.Summary
		}
	}
	return strings.Join(texts, "; ")
}

// HasErrors reports whether at least one diagnostic is an error, not a warning.
func (d Diagnostics) HasErrors() bool {
	for _, m := range d {
		if m.Severity != SeverityWarning {
			return true
		}
	}
	return false
}
