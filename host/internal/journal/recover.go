package journal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
)

// Recover finishes and removes what a crash has left of a project: commit
// records that are missing are written, and Sweep.
func Recover(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	seals, err := catalog.Unrecorded(ctx, project)
	if err != nil {
		return err
	}
	for _, seal := range seals {
		if err := record(ctx, store, catalog, seal); err != nil {
			return fmt.Errorf("write the commit record of seal %d: %w", seal.Seq, err)
		}
	}
	if err := Sweep(ctx, catalog, store, project); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

// Sweep removes blobs that were announced and never committed, once their time
// is over. The announcement goes first: whoever is still writing the blob
// cannot commit it any more.
func Sweep(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	expired, err := catalog.ExpiredPending(ctx, project)
	if err != nil {
		return err
	}
	for _, blob := range expired {
		if err := giveUp(ctx, catalog, store, blob); err != nil {
			return err
		}
	}
	return sweepKeys(ctx, catalog, store, project)
}

// sweepKeys removes runs of keys that were merged into others.
func sweepKeys(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	// Listed before the catalog is asked: what is made meanwhile is not in it.
	blobs, err := store.List(ctx, fmt.Sprintf("keys/%d", project))
	if err != nil || len(blobs) == 0 {
		return err
	}
	pending, err := catalog.Pending(ctx, project)
	if err != nil {
		return err
	}
	runs, err := catalog.KeyRuns(ctx, project)
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		used := slices.ContainsFunc(runs, func(r keys.Run) bool { return r.Blob == blob })
		if used || slices.Contains(pending, blob) {
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
