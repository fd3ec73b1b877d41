package gcp

import (
	"errors"
	"slices"

	"google.golang.org/api/googleapi"
)

// Answer returns the service's answer in an error; nil: there is none.
func Answer(err error) *googleapi.Error {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// HasReason reports whether the service gives one of the reasons.
func HasReason(e *googleapi.Error, reasons ...string) bool {
	return slices.ContainsFunc(e.Errors, func(item googleapi.ErrorItem) bool { return slices.Contains(reasons, item.Reason) })
}
