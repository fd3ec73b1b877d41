package journal

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// Named lists the segments and runs of keys of a project that a catalog names, and the
// commit records of its seals that are in the store. A commit record that a host has
// not written yet is written when the journal is opened.
func Named(ctx context.Context, catalog Catalog, store disk.Store, project int64) ([]string, error) {
	names, err := catalog.Blobs(ctx, project)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]bool, len(names))
	for _, name := range names {
		listed[name] = true
	}
	runs, err := catalog.KeyRuns(ctx, project)
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		if !listed[run.Blob] { // the first run of keys is in its segment
			listed[run.Blob] = true
			names = append(names, run.Blob)
		}
	}
	confirmed, err := catalog.Confirmed(ctx, project)
	if err != nil {
		return nil, err
	}
	for _, f := range confirmed {
		names = append(names, f.record(project))
	}
	return names, nil
}
