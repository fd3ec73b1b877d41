package service

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/backup"
	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// CodeOf returns the code of an error that an operation returned.
func CodeOf(err error) operation.Code {
	if code, ok := operation.CodeOf(err); ok {
		return code
	}
	var missing *quarantine.NotFoundError
	switch {
	case errors.Is(err, catalog.ErrUnknownPipeline):
		return operation.UnknownPipeline
	case errors.As(err, &missing):
		return operation.UnknownRecord
	case isConflict(err):
		return operation.Conflict
	case isConfiguration(err):
		return operation.Configuration
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return operation.Stopped
	case datadir.IsDiskFailure(err):
		return operation.DiskFull
	}
	return operation.Failed
}

// isConflict reports whether the state of an object does not allow an operation.
func isConflict(err error) bool {
	var begun *catalog.BegunError
	var taken *catalog.TargetTakenError
	var adopt *catalog.AdoptError
	var shrunk *pipeline.ShrunkError
	for _, known := range []error{catalog.ErrCancelled, catalog.ErrRunPlanned, pipeline.ErrPaused, pipeline.ErrLeased, backup.ErrExists} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &begun) || errors.As(err, &taken) || errors.As(err, &adopt) || errors.As(err, &shrunk)
}

// isConfiguration reports whether a person must correct the configuration, or the
// directory of plugins.
func isConfiguration(err error) bool {
	var wrong *diagnostic.ConfigurationError
	var changed *pipeline.ChangedError
	var budget *plugin.BudgetError
	return errors.As(err, &wrong) || errors.As(err, &changed) || errors.As(err, &budget)
}
