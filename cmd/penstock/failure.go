package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				f.add(e)
			}
			return
		}
		f.diagnostics = append(f.diagnostics, configuration.Diagnostics)
		f.Diagnostics = append(f.Diagnostics, configuration.Diagnostics.Entries()...)
		return
	}
	f.errors = append(f.errors, err.Error())
	if hint := host.Hint(err); hint != "" {
		f.errors = append(f.errors, hint)
	}
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
			fmt.Fprintf(c.err, "penstock: %s\n", escape(e))
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
