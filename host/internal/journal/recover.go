package journal

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
)

// BehindError says that there are commit records of seals or of rewrites that the
// catalog has not seen: it is not the catalog of this store, or an old copy of it.
// Sealing with it would overwrite them, and a sweep would remove files that a rewrite
// has put in the place of others.
type BehindError struct {
	Project, Catalog, Store int64
	// The first and the last seal of a rewrite that the catalog has not seen; 0: it has
	// seen all rewrites.
	From, To int64
}

func (e *BehindError) Error() string {
	if e.To > 0 {
		return fmt.Sprintf("the catalog does not know the file that holds the seals %d to %d of project %d, and there is a commit record of it: "+
			"the catalog is an old copy; 'penstock journal rebuild-catalog' restores it from the journal", e.From, e.To, e.Project)
	}
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
	_, err := sweep(ctx, catalog, store, project)
	return err
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
	rewrites, err := catalog.Unconfirmed(ctx, project)
	if err != nil {
		return err
	}
	for _, r := range rewrites {
		if err := recordRewrite(ctx, store, catalog, r); err != nil {
			return fmt.Errorf("write the commit record of seals %d to %d: %w", r.From, r.To, err)
		}
	}
	return nil
}

// compareRecords returns a *BehindError when the catalog does not know the
// latest commit record, or that of a rewrite.
func compareRecords(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	// Listed before the catalog is asked: it knows a seal before there is a
	// record of it.
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return err
	}
	seq, err := catalog.Sequence(ctx, project)
	if err != nil || len(names) == 0 {
		return err
	}
	if names[len(names)-1] <= recordName(project, seq) {
		return compareRewrites(ctx, catalog, names, project)
	}
	latest := names[len(names)-1]
	found, err := parseRecord(latest)
	if err != nil {
		return err
	}
	return &BehindError{Project: project, Catalog: seq, Store: found.to}
}

// compareRewrites returns a *BehindError when there is a commit record of a rewrite
// that the catalog has not seen. One that another rewrite has replaced since was seen.
func compareRewrites(ctx context.Context, catalog Catalog, names []string, project int64) error {
	rewritten := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(path.Base(name), "-") })
	if len(rewritten) == 0 {
		return nil
	}
	known, err := catalog.Rewritten(ctx, project) // in order, and none has a seal of another
	if err != nil {
		return err
	}
	for _, name := range rewritten {
		r, err := parseRecord(name)
		if err != nil {
			return err
		}
		i, _ := slices.BinarySearchFunc(known, r.to, func(f Replaced, to int64) int { return cmp.Compare(f.To, to) })
		if i == len(known) || known[i].From > r.from || known[i].From == r.from && known[i].To == r.to && known[i].Revision < r.revision {
			return &BehindError{Project: project, From: r.from, To: r.to}
		}
	}
	return nil
}

// Swept counts the files that a sweep has removed.
type Swept struct {
	Blobs   int64 // segments and keys
	Records int64 // commit records whose seals are in that of a rewrite
}

// Sweep removes blobs that were announced and never committed, once their time
// is over, those that the catalog no longer names, and commit records that a rewrite
// has replaced. It drops the announcement first: a process that still writes the blob
// can then no longer commit it. A writer and a rewriter may be at work at the same
// time: the files that they have announced stay. The error is that of Compare if the catalog is
// not the one of the store: nothing is then removed.
func Sweep(ctx context.Context, catalog Catalog, store disk.Store, project int64) (Swept, error) {
	if err := Compare(ctx, catalog, store, project); err != nil {
		return Swept{}, err
	}
	return sweep(ctx, catalog, store, project)
}

// sweep is Sweep for a catalog that was compared with the store before.
func sweep(ctx context.Context, catalog Catalog, store disk.Store, project int64) (swept Swept, err error) {
	expired, err := catalog.ExpiredPending(ctx, project)
	if err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	for _, blob := range expired {
		if err := giveUp(ctx, catalog, store, blob, nil); err != nil {
			return swept, fmt.Errorf("sweep: %w", err)
		}
		swept.Blobs++
	}
	// Blobs without an announcement are left by an interrupted sweep, or by a
	// writer that died after it wrote a blob whose announcement was swept.
	orphans, err := unnamed(ctx, catalog, store, project)
	if err != nil {
		return swept, fmt.Errorf("sweep: %w", err)
	}
	for _, blob := range orphans {
		if err := store.Delete(ctx, blob); err != nil {
			return swept, fmt.Errorf("sweep: %w", err)
		}
		swept.Blobs++
	}
	if swept.Records, err = sweepRecords(ctx, store, project); err != nil {
		return swept, fmt.Errorf("sweep commit records: %w", err)
	}
	return swept, nil
}

// sweepRecords removes commit records whose seals are in the record of a rewrite.
func sweepRecords(ctx context.Context, store disk.Store, project int64) (n int64, err error) {
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return 0, err
	}
	current, covered, err := currentRecords(names)
	if err != nil || len(covered) == 0 {
		return 0, err
	}
	for _, r := range current {
		if r.revision >= 0 && slices.ContainsFunc(covered, func(c listedRecord) bool { return c.to >= r.from && c.to <= r.to }) {
			if _, err := readRange(ctx, store, r.name); err != nil {
				return 0, err
			}
		}
	}
	for _, r := range covered {
		if err := store.Delete(ctx, r.name); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// unnamed lists a project's blobs that are neither announced nor named by the catalog.
func unnamed(ctx context.Context, catalog Catalog, store disk.Store, project int64) ([]string, error) {
	// In this order: a blob is announced before it is there, and announced
	// until it is named.
	var blobs []string
	for _, dir := range []string{"segments", "keys"} {
		found, err := store.List(ctx, fmt.Sprintf("%s/%d", dir, project))
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, found...)
	}
	if len(blobs) == 0 {
		return nil, nil
	}
	used := map[string]bool{}
	for _, list := range []func(context.Context, int64) ([]string, error){catalog.Pending, catalog.Blobs} {
		names, err := list(ctx, project)
		if err != nil {
			return nil, err
		}
		for _, blob := range names {
			used[blob] = true
		}
	}
	runs, err := catalog.KeyRuns(ctx, project)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		used[r.Blob] = true
	}
	return slices.DeleteFunc(blobs, func(blob string) bool { return used[blob] }), nil
}

// Orphans lists the files of a project that the next Sweep removes. A Writer that merges
// keys at the same time removes the files that it has replaced: they may be listed until
// its Rest returns.
func Orphans(ctx context.Context, catalog Catalog, store disk.Store, project int64) ([]string, error) {
	orphans, err := unnamed(ctx, catalog, store, project)
	if err != nil {
		return nil, err
	}
	expired, err := catalog.ExpiredPending(ctx, project)
	if err != nil {
		return nil, err
	}
	orphans = append(orphans, expired...)
	names, err := store.List(ctx, fmt.Sprintf("commits/%d", project))
	if err != nil {
		return nil, err
	}
	_, covered, err := currentRecords(names)
	for _, r := range covered {
		orphans = append(orphans, r.name)
	}
	return orphans, err
}

// deleteRun removes the blob of a run that was merged, unless it is a segment.
func deleteRun(ctx context.Context, store disk.Store, run keys.Run) error {
	if !strings.HasPrefix(run.Blob, "keys/") {
		return nil
	}
	return store.Delete(ctx, run.Blob)
}
