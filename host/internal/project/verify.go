package project

import (
	"context"
	"errors"
	"io/fs"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// VerifyStates reads every byte of the latest generations of a project, and compares
// them with their checksums. The project need not be configured.
func VerifyStates(ctx context.Context, c *catalog.Catalog, store disk.Store, project int64, report *operation.JournalReport) error {
	for _, stream := range []batch.Stream{batch.People, batch.Identity} {
		g, err := c.Generation(ctx, project, stream)
		for err == nil && g != nil {
			g, err = verifyState(ctx, c, store, project, stream, g, report)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyState verifies a generation. When a fold has replaced it
// since and its files are gone, verifyState returns the one that follows.
func verifyState(ctx context.Context, c *catalog.Catalog, store disk.Store, project int64, stream batch.Stream, g *pipeline.Generation, report *operation.JournalReport) (*pipeline.Generation, error) {
	err := generation.New(store, project, stream).Rows(ctx, g.Blob, func([]byte) error { return nil })
	var damage *segment.DamageError
	switch {
	case errors.As(err, &damage):
		report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: damage.Place, Place: "file", Detail: damage.Detail})
	case errors.Is(err, fs.ErrNotExist):
		latest, latestErr := c.Generation(ctx, project, stream)
		if latestErr != nil || latest != nil && latest.Blob != g.Blob {
			return latest, latestErr
		}
		report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: g.Blob, Place: "file", Detail: err.Error()})
	case err != nil:
		return nil, err
	}
	report.Bytes += g.Bytes
	return nil, nil
}
