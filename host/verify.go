package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
)

// VerifyJournal implements Operations. It verifies every project that the
// catalog or the journal holds, configured or not.
func (h *Host) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	report := &operation.JournalReport{Corruptions: []operation.Corruption{}}
	ids, err := datadir.Projects(ctx, h.catalog, h.store)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := h.verifyProject(ctx, id, report); err != nil {
			return nil, err
		}
	}
	if err := h.verifyLogs(ctx, report); err != nil {
		return nil, err
	}
	return report, h.verifyQuarantine(ctx, report)
}

// verifyProject adds a project's segments, runs of keys and generations to a
// report.
func (h *Host) verifyProject(ctx context.Context, id int64, report *operation.JournalReport) error {
	found, err := journal.Verify(ctx, h.store, h.segments(id), func(ctx context.Context) ([]keys.Run, error) { return h.catalog.KeyRuns(ctx, id) })
	if err != nil {
		return err
	}
	report.Segments += found.Segments
	report.Blocks += found.Blocks
	report.Bytes += found.Bytes
	for _, d := range found.Damages {
		report.Corruptions = append(report.Corruptions, corruption(d))
	}
	if err := project.VerifyStates(ctx, h.catalog, h.store, id, report); err != nil {
		return err
	}
	return h.verifyCatalog(ctx, id, report)
}

func corruption(d journal.Damage) operation.Corruption {
	c := operation.Corruption{Blob: d.Blob, Place: d.Place, Detail: d.Detail, Rows: d.Rows}
	if d.Rows > 0 {
		c.From, c.To = d.From.String(), d.To.String()
	}
	return c
}

// verifyCatalog reports seals of a project that are in the store and not in the
// catalog.
func (h *Host) verifyCatalog(ctx context.Context, id int64, report *operation.JournalReport) error {
	err := journal.Compare(ctx, h.catalog, h.store, id)
	var behind *journal.BehindError
	var lost *journal.LostCatalogError
	if !errors.As(err, &behind) && !errors.As(err, &lost) {
		return err
	}
	report.CatalogFailed = true
	report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: datadir.CatalogFile, Place: fmt.Sprintf("project %d", id), Detail: err.Error()})
	return nil
}

// segments visits the segments of a project that the catalog lists.
func (h *Host) segments(project int64) journal.Segments {
	return func(ctx context.Context, fn func(journal.Segment) error) error {
		return h.catalog.Segments(ctx, project, fn)
	}
}

// missingSegments sums up the segments of a project that the catalog lists and
// that are not on the disk; nil: all are there.
func (h *Host) missingSegments(ctx context.Context, project int64, name string) (*operation.MissingSegments, error) {
	loss, err := journal.Missing(ctx, h.store, project, h.segments(project))
	if err != nil || loss.Segments == 0 {
		return nil, err
	}
	return &operation.MissingSegments{
		Project: name, Segments: loss.Segments, Rows: loss.Rows, From: loss.From.String(), To: loss.To.String(), First: loss.First,
	}, nil
}
