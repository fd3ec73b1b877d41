package operation

import (
	"errors"
	"fmt"
)

// Code names the kind of an error for programs. A code keeps its meaning in all versions;
// new ones may come.
type Code string

// The codes.
const (
	UnknownPipeline    Code = "unknown_pipeline"
	UnknownRun         Code = "unknown_run"
	UnknownSource      Code = "unknown_source"
	UnknownDestination Code = "unknown_destination"
	UnknownProject     Code = "unknown_project"
	UnknownRecord      Code = "unknown_record"    // of the quarantine
	InvalidParameter   Code = "invalid_parameter" // a value that cannot be right
	Conflict           Code = "conflict"          // the state of the object does not allow it
	Configuration      Code = "configuration"     // a person must correct the configuration
	DiskFull           Code = "disk_full"
	Stopped            Code = "stopped" // the host is stopping, or the request was cancelled
	Failed             Code = "failed"  // everything else; the message says why
)

// fault is an error with a code.
type fault struct {
	code Code
	error
}

func (f *fault) Unwrap() error { return f.error }

// Faultf returns an error with a code and the text of fmt.Errorf.
func Faultf(code Code, format string, args ...any) error {
	return &fault{code, fmt.Errorf(format, args...)}
}

// CodeOf returns the code of an error of Faultf, or of one that wraps it; ok is false for
// others.
func CodeOf(err error) (code Code, ok bool) {
	var f *fault
	if errors.As(err, &f) {
		return f.code, true
	}
	return "", false
}
