package plugin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// errorLines is how many of the last log lines an error's text shows. Log
// holds all that were kept.
const errorLines = 10

// ErrNotDescribed says that a plugin's description is not in the cache.
var ErrNotDescribed = errors.New("the plugin was not described yet")

// ErrStopped says that the destination or the manager was stopped.
var ErrStopped = errors.New("the plugin was stopped")

var errEnded = errors.New("the export is over")

// RefusedError gives the reason why a binary, the lock file or the plugin directory
// is not trusted, and the remedy for a person.
type RefusedError struct {
	Path   string
	State  State  // Pinned when the binary itself is not the reason
	Reason string // "is not pinned in plugins.lock"
	Remedy string // "run …"
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("plugin refused: %s %s; %s", e.Path, e.Reason, e.Remedy)
}

// StartError says that a plugin did not get as far as answering.
type StartError struct {
	Plugin string
	Reason string
	Notes  []string // findings about the binary; see diagnose
	Log    []string
	// Final means that the same binary fails at every start: a person has to act.
	Final bool
	Err   error // may be nil
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start plugin %s: %s", e.Plugin, e.Reason)
	for _, n := range e.Notes {
		b.WriteString("; ")
		b.WriteString(n)
	}
	writeLog(&b, e.Log)
	return b.String()
}

func (e *StartError) Unwrap() error { return e.Err }

// LastLog returns the plugin's last log lines, oldest first.
func (e *StartError) LastLog() []string { return e.Log }

// ProtocolError says that host and plugin have no protocol version in common.
type ProtocolError struct {
	Plugin string
	Theirs int
	Ours   []int
}

func (e *ProtocolError) Error() string {
	fix := "install a newer version of the plugin"
	if len(e.Ours) > 0 && e.Theirs > e.Ours[len(e.Ours)-1] {
		fix = "install a newer penstock, or an older version of the plugin"
	}
	return fmt.Sprintf("start plugin %s: it speaks version %d of the destination protocol, this host %s; %s",
		e.Plugin, e.Theirs, versionList(e.Ours), fix)
}

// CrashError says that a plugin process ended unexpectedly.
type CrashError struct {
	Plugin string
	During string // the call that it cut; empty: none
	Status string // "exit status 3", "signal: killed"
	Uptime time.Duration
	Log    []string // at most the last 100 lines, oldest first
	Err    error    // the call's own error; may be nil
}

func (e *CrashError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %s crashed (%s)", e.Plugin, e.Status)
	if e.During != "" {
		fmt.Fprintf(&b, " during %s", e.During)
	}
	fmt.Fprintf(&b, " after running %s", e.Uptime.Round(time.Millisecond))
	writeLog(&b, e.Log)
	return b.String()
}

func (e *CrashError) Unwrap() error { return e.Err }

// LastLog returns the plugin's last log lines, oldest first.
func (e *CrashError) LastLog() []string { return e.Log }

// FrozenError says that a plugin gave no answer in time and was killed.
type FrozenError struct {
	Plugin string
	During string
	After  time.Duration
	Log    []string
	Err    error // the call's own error; may be nil
}

func (e *FrozenError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %s gave no sign of life for %s during %s and was killed", e.Plugin, e.After, e.During)
	writeLog(&b, e.Log)
	return b.String()
}

func (e *FrozenError) Unwrap() error { return e.Err }

// LastLog returns the plugin's last log lines, oldest first.
func (e *FrozenError) LastLog() []string { return e.Log }

// Timeout reports true: callers treat FrozenError as a timeout.
func (e *FrozenError) Timeout() bool { return true }

// DeadlineError says that a call took too long. The plugin lives on.
type DeadlineError struct {
	Plugin string
	During string
	After  time.Duration
}

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("plugin %s: %s did not end within %s", e.Plugin, e.During, e.After)
}

// Timeout reports true: callers treat DeadlineError as a timeout.
func (e *DeadlineError) Timeout() bool { return true }

// BudgetError says that a plugin crashed, or failed to start, too often to be started
// again now.
type BudgetError struct {
	Plugin  string
	Crashes int // failed starts included
	Window  time.Duration
	Until   time.Time // when the next start is allowed
	Last    error
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("plugin %s crashed or failed to start %d times within %s and is not started again before %s; the last time: %v",
		e.Plugin, e.Crashes, e.Window, e.Until.UTC().Format(time.RFC3339), e.Last)
}

func (e *BudgetError) Unwrap() error { return e.Last }

func writeLog(b *strings.Builder, log []string) {
	if len(log) == 0 {
		return
	}
	if n := len(log); n > errorLines {
		log = log[n-errorLines:]
	}
	b.WriteString("; its last log lines:")
	for _, line := range log {
		b.WriteString("\n  ")
		b.WriteString(line)
	}
}

func versionList(versions []int) string {
	parts := make([]string, len(versions))
	for i, v := range versions {
		parts[i] = fmt.Sprint(v)
	}
	if len(parts) == 1 {
		return "version " + parts[0]
	}
	return "versions " + strings.Join(parts, ", ")
}

// The errors of this package have a class, by which callers decide about another
// attempt: errors that a person must correct are of class configuration, the
// others are retryable.

// As gives the error as a *protocol.Error.
func (e *RefusedError) As(target any) bool {
	return classed(target, protocol.Configuration, e.Remedy, e)
}

// As gives the error as a *protocol.Error.
func (e *ProtocolError) As(target any) bool { return classed(target, protocol.Configuration, "", e) }

// As gives the error as a *protocol.Error.
func (e *StartError) As(target any) bool {
	class := protocol.Retryable
	if e.Final {
		class = protocol.Configuration
	}
	return classed(target, class, "", e)
}

// As gives the error as a *protocol.Error.
func (e *CrashError) As(target any) bool { return classed(target, protocol.Retryable, "", e) }

// As gives the error as a *protocol.Error.
func (e *FrozenError) As(target any) bool { return classed(target, protocol.Retryable, "", e) }

// As gives the error as a *protocol.Error.
func (e *DeadlineError) As(target any) bool { return classed(target, protocol.Retryable, "", e) }

// As gives the error as a *protocol.Error.
func (e *BudgetError) As(target any) bool { return classed(target, protocol.Retryable, "", e) }

func classed(target any, class protocol.Class, hint string, err error) bool {
	e, ok := target.(**protocol.Error)
	if ok {
		*e = &protocol.Error{Class: class, Hint: hint, Err: err}
	}
	return ok
}
