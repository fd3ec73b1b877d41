package service

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
func (h journals) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	report := &operation.JournalReport{Corruptions: []operation.Corruption{}}
	ids, err := datadir.Projects(ctx, h.Catalog, h.Store)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := h.verifyProject(ctx, id, report); err != nil {
			return nil, err
		}
	}
	if err := h.Intake.Verify(ctx, report); err != nil {
		return nil, err
	}
	return report, records(h).verifyQuarantine(ctx, report)
}

// verifyProject adds a project's segments, runs of keys and generations to a
// report.
func (h journals) verifyProject(ctx context.Context, id int64, report *operation.JournalReport) error {
	files := func(ctx context.Context, fn func(journal.File) error) error { return h.Catalog.Files(ctx, id, 0, fn) }
	found, err := journal.Verify(ctx, h.Store, files, func(ctx context.Context) ([]keys.Run, error) { return h.Catalog.KeyRuns(ctx, id) })
	if err != nil {
		return err
	}
	report.Segments += found.Segments
	report.Blocks += found.Blocks
	report.Bytes += found.Bytes
	for _, d := range found.Damages {
		report.Corruptions = append(report.Corruptions, corruption(d))
	}
	if err := project.VerifyStates(ctx, h.Catalog, h.Store, id, report); err != nil {
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
func (h journals) verifyCatalog(ctx context.Context, id int64, report *operation.JournalReport) error {
	err := journal.Compare(ctx, h.Catalog, h.Store, id)
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
func (h *Options) segments(project int64) journal.Segments {
	return func(ctx context.Context, fn func(journal.Segment) error) error {
		return h.Catalog.Segments(ctx, project, fn)
	}
}

// MissingSegments sums up the segments of each configured project that the catalog
// lists and that are not on the disk. The error says the same.
func (h journals) MissingSegments(ctx context.Context) (missing []operation.MissingSegments, err error) {
	for _, p := range h.Config().Projects {
		m, failed := h.missingSegments(ctx, p.ID, p.Name)
		if m != nil {
			missing = append(missing, *m)
			failed = m
		}
		err = errors.Join(err, failed)
	}
	return missing, err
}

// missingSegments sums up the segments of a project that the catalog lists and
// that are not on the disk; nil: all are there.
func (h *Options) missingSegments(ctx context.Context, project int64, name string) (*operation.MissingSegments, error) {
	loss, err := journal.Missing(ctx, h.Store, project, h.segments(project))
	if err != nil || loss.Segments == 0 {
		return nil, err
	}
	return &operation.MissingSegments{
		Project: name, Segments: loss.Segments, Rows: loss.Rows, From: loss.From.String(), To: loss.To.String(), First: loss.First,
	}, nil
}

// Segments implements Operations.
func (h journals) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	segments := []operation.SegmentStatus{}
	for _, p := range h.Config().Projects {
		err := h.Catalog.Segments(ctx, p.ID, func(s journal.Segment) error {
			segments = append(segments, segmentStatus(p.Name, s))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return segments, nil
}

// JournalStats implements Operations.
func (h journals) JournalStats(ctx context.Context) ([]operation.JournalStats, error) {
	return h.Upkeep.Stats(ctx)
}

func segmentStatus(project string, s journal.Segment) operation.SegmentStatus {
	status := operation.SegmentStatus{Project: project, Sequence: s.Seq, Blob: s.Blob, Bytes: s.Size, SealedAt: s.SealedAt, Extents: []operation.ExtentStatus{}}
	for _, e := range s.Extents {
		if e.Blocks == 0 {
			status.Removed += e.Rows
			continue
		}
		status.Rows += e.Rows
		status.Extents = append(status.Extents, operation.ExtentStatus{
			Kind: e.Kind.String(), UTCDate: e.UTCDate.String(), ZoneDate: e.ZoneDate.String(), Rows: e.Rows, Bytes: e.Bytes,
		})
	}
	return status
}
