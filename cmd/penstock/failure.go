package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host"
)

// The exit statuses.
const (
	exitDone          = 0 // also when records were quarantined: the output counts them
	exitFailed        = 1
	exitConfiguration = 2 // a wrong configuration, or a wrong command line
	exitDifferences   = 3 // a verification found differences
)

// usageError is a command line that is wrong.
type usageError struct{ error }

// shownError ends the process with a status after the command has printed
// everything itself.
type shownError struct{ status int }

func (e *shownError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// failure is the error of a command, as JSON for machines and as text for
// people.
type failure struct {
	Error       string                 `json:"error"` // without the diagnostics
	ExitStatus  int                    `json:"exit_status"`
	Diagnostics []host.DiagnosticEntry `json:"diagnostics,omitempty"`

	diagnostics []host.Diagnostics
	errors      []string
}

// failureOf classifies an error. Of joined errors, a wrong configuration decides
// the exit status.
func failureOf(err error) *failure {
	f := &failure{ExitStatus: exitFailed}
	f.add(err)
	f.Error = strings.Join(f.errors, "\n")
	if len(f.errors) == 0 {
		f.Error = "the configuration is wrong"
	}
	return f
}

func (f *failure) add(err error) {
	var configuration *host.ConfigurationError
	var usage usageError
	switch {
	case errors.As(err, &usage):
		f.ExitStatus = exitConfiguration
	case errors.As(err, &configuration):
		f.ExitStatus = exitConfiguration
	}
	switch joined := parts(err); {
	case len(joined) > 0:
		for _, e := range joined {
			f.add(e)
		}
		return
	case configuration != nil:
		f.diagnostics = append(f.diagnostics, configuration.Diagnostics)
		f.Diagnostics = append(f.Diagnostics, configuration.Diagnostics.Entries()...)
		return
	}
	for _, text := range []string{err.Error(), host.Hint(err)} {
		if text != "" && !slices.Contains(f.errors, text) {
			f.errors = append(f.errors, text)
		}
	}
}

// parts returns the errors that errors.Join has joined, or nil. An error that wraps
// several others in a sentence of its own is one error.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	all := joined.Unwrap()
	texts := make([]string, 0, len(all))
	for _, e := range all {
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return nil
	}
	return all
}

// status reports err, unless the command has done that, and returns the exit
// status. With --json the error is the one document on standard output, or a
// line on standard error behind a result that was printed before.
func (c *cli) status(err error) int {
	if err == nil {
		return exitDone
	}
	var shown *shownError
	if errors.As(err, &shown) {
		return shown.status
	}
	f := failureOf(err)
	switch {
	case c.log != nil && c.machine():
		c.logFailure(f)
	case c.json && !c.printed:
		// An unwritable standard output leaves the exit status.
		_ = c.printJSON(f)
	case c.json:
		_ = json.NewEncoder(c.err).Encode(f)
	default:
		for _, d := range f.diagnostics {
			c.printDiagnostics(d)
		}
		for _, e := range f.errors {
			fmt.Fprintf(c.err, "penstock: %s\n", escape(oneLine(e)))
		}
	}
	return f.ExitStatus
}

// logFailure reports a failure as lines of the host's log.
func (c *cli) logFailure(f *failure) {
	for _, d := range f.Diagnostics {
		c.logDiagnostic(d)
	}
	for _, e := range f.errors {
		c.log.Error("host ended with an error", "error", e, "exit_status", f.ExitStatus)
	}
}
