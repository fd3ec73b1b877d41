package journal

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
)

// BehindError says that there are commit records of seals that the catalog has
// not seen: it is not the catalog of this store, or an old copy of it. Sealing
// with it would overwrite them.
type BehindError struct{ Project, Catalog, Store int64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("the catalog knows the seals of project %d up to %d, and there is a commit record of seal %d: "+
		"the catalog was lost, or is an old copy; 'penstock journal rebuild-catalog' restores it from the journal", e.Project, e.Catalog, e.Store)
}

// Recover cleans up after a crash: it writes the missing commit records of a
// project and calls Sweep.
func Recover(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	if err := Compare(ctx, catalog, store, project); err != nil {
		return err
	}
	if err := Record(ctx, catalog, store, project); err != nil {
		return err
	}
	return sweep(ctx, catalog, store, project)
}

// Record writes the commit records of a project that a crash has left unwritten.
func Record(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	seals, err := catalog.Unrecorded(ctx, project)
	if err != nil {
		return err
	}
	for _, seal := range seals {
		if err := record(ctx, store, catalog, seal); err != nil {
			return fmt.Errorf("write the commit record of seal %d: %w", seal.Seq, err)
		}
	}
	return nil
}

// compareRecords returns a *BehindError when the catalog does not know the
// latest commit record.
func compareRecords(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	// Listed before the catalog is asked: it knows a seal before there is a
	// record of it.
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return err
	}
	seq, err := catalog.Sequence(ctx, project)
	if err != nil || len(names) == 0 || names[len(names)-1] <= recordName(project, seq) {
		return err
	}
	latest := names[len(names)-1]
	found, err := strconv.ParseInt(strings.TrimSuffix(path.Base(latest), ".json"), 10, 64)
	if err != nil {
		return damagedRecord(latest, "its name is not that of a record")
	}
	return &BehindError{Project: project, Catalog: seq, Store: found}
}

// sweep removes blobs that were announced and never committed, once their time
// is over, and those that the catalog no longer names. It drops the announcement
// first: a process that still writes the blob can then no longer commit it. The
// catalog was compared with the store before.
func sweep(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	expired, err := catalog.ExpiredPending(ctx, project)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, blob := range expired {
		if err := giveUp(ctx, catalog, store, blob, nil); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	// Blobs without an announcement are left by an interrupted sweep, or by a
	// writer that died after it wrote a blob whose announcement was swept.
	if err := sweepUnnamed(ctx, catalog, store, project, "segments", catalog.Blobs); err != nil {
		return fmt.Errorf("sweep segments: %w", err)
	}
	runs := func(ctx context.Context, project int64) ([]string, error) {
		runs, err := catalog.KeyRuns(ctx, project)
		blobs := make([]string, 0, len(runs))
		for _, r := range runs {
			blobs = append(blobs, r.Blob)
		}
		return blobs, err
	}
	if err := sweepUnnamed(ctx, catalog, store, project, "keys", runs); err != nil {
		return fmt.Errorf("sweep keys: %w", err)
	}
	return nil
}

// sweepUnnamed removes a project's blobs in a directory that are neither
// announced nor named by the catalog.
func sweepUnnamed(ctx context.Context, catalog Catalog, store disk.Store, project int64, dir string,
	named func(context.Context, int64) ([]string, error)) error {
	// In this order: a blob is announced before it is there, and announced
	// until it is named.
	blobs, err := store.List(ctx, fmt.Sprintf("%s/%d", dir, project))
	if err != nil || len(blobs) == 0 {
		return err
	}
	pending, err := catalog.Pending(ctx, project)
	if err != nil {
		return err
	}
	names, err := named(ctx, project)
	if err != nil {
		return err
	}
	used := make(map[string]bool, len(names)+len(pending))
	for _, blob := range slices.Concat(pending, names) {
		used[blob] = true
	}
	for _, blob := range blobs {
		if used[blob] {
			continue
		}
		if err := store.Delete(ctx, blob); err != nil {
			return err
		}
	}
	return nil
}

// deleteRun removes the blob of a run that was merged, unless it is a segment.
func deleteRun(ctx context.Context, store disk.Store, run keys.Run) error {
	if !strings.HasPrefix(run.Blob, "keys/") {
		return nil
	}
	return store.Delete(ctx, run.Blob)
}
