package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// Loss sums up segments that are listed in a catalog and not in the store.
type Loss struct {
	Segments int64
	Rows     int64
	From, To Day    // UTC dates of the rows; zero without rows
	First    string // the blob of the first one; "": nothing is missing
}

func (l *Loss) add(s Segment) {
	if l.First == "" {
		l.First = s.Blob
	}
	l.Segments++
	for _, e := range s.Extents {
		if e.Blocks == 0 {
			continue // it was removed before
		}
		if l.Rows == 0 || e.UTCDate < l.From {
			l.From = e.UTCDate
		}
		if l.Rows == 0 || e.UTCDate > l.To {
			l.To = e.UTCDate
		}
		l.Rows += e.Rows
	}
}

// Missing returns the segments of a project that the catalog lists and the
// store lacks. It opens none of the others. A writer may seal, and
// files may be rewritten, at the same time.
func Missing(ctx context.Context, store disk.Store, project int64, segments Segments) (Loss, error) {
	var loss Loss
	present, err := store.List(ctx, segmentDir(project))
	if err != nil {
		return loss, err
	}
	var absent []Segment
	err = segments(ctx, func(s Segment) error {
		if _, found := slices.BinarySearch(present, s.Blob); !found {
			s.Extents = slices.Clone(s.Extents)
			absent = append(absent, s)
		}
		return nil
	})
	if err != nil || len(absent) == 0 {
		return loss, err
	}
	// Segments that were sealed after the store was listed are in the second list.
	if present, err = store.List(ctx, segmentDir(project)); err != nil {
		return loss, err
	}
	absent = slices.DeleteFunc(absent, func(s Segment) bool {
		_, found := slices.BinarySearch(present, s.Blob)
		return found
	})
	if absent, err = stillListed(ctx, absent, segments); err != nil {
		return loss, err
	}
	for _, s := range absent {
		loss.add(s)
	}
	return loss, nil
}

// stillListed returns those of absent segments that the catalog still lists in the same
// file: a rewrite may have replaced the others, and removed theirs, since they were
// listed.
func stillListed(ctx context.Context, absent []Segment, segments Segments) ([]Segment, error) {
	if len(absent) == 0 {
		return nil, nil
	}
	blobs := make(map[int64]string, len(absent))
	err := segments(ctx, func(s Segment) error {
		blobs[s.Seq] = s.Blob
		return nil
	})
	return slices.DeleteFunc(absent, func(s Segment) bool { return blobs[s.Seq] != s.Blob }), err
}

// LostCatalogError says that a store holds segments of a project of which the
// catalog lists none.
type LostCatalogError struct {
	Project  int64
	Segments int
	Dir      string // of the segments, in the store
}

func (e *LostCatalogError) Error() string {
	return fmt.Sprintf("the catalog lists no segment of project %d, and %s holds %d: the catalog was lost, and so were the commit records "+
		"that 'penstock journal rebuild-catalog' needs. Restore the catalog or %s from a backup; if nothing was ever sealed here, move the files in %s away",
		e.Project, e.Dir, e.Segments, fmt.Sprintf("commits/%d", e.Project), e.Dir)
}

// compareSegments returns a *LostCatalogError when several segments lie in the
// store that nothing has announced, and the catalog has never seen a seal of the
// project. A single one may be the first seal of a host that was killed, and
// killed again while it swept.
func compareSegments(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	seq, err := catalog.Sequence(ctx, project)
	if err != nil || seq > 0 {
		return err
	}
	present, err := store.List(ctx, segmentDir(project))
	if err != nil || len(present) < 2 {
		return err
	}
	pending, err := catalog.Pending(ctx, project)
	if err != nil {
		return err
	}
	present = slices.DeleteFunc(present, func(blob string) bool { return slices.Contains(pending, blob) })
	// In between the first one may have been sealed.
	if seq, err = catalog.Sequence(ctx, project); err != nil || seq > 0 || len(present) < 2 {
		return err
	}
	return &LostCatalogError{Project: project, Segments: len(present), Dir: segmentDir(project)}
}

// Compare compares a project's catalog with its store: a *BehindError or a
// *LostCatalogError says that the store holds seals that the catalog does not
// list. A writer may be at work at the same time.
func Compare(ctx context.Context, catalog Catalog, store disk.Store, project int64) error {
	if err := compareRecords(ctx, catalog, store, project); err != nil {
		return err
	}
	return compareSegments(ctx, catalog, store, project)
}

func segmentDir(project int64) string { return fmt.Sprintf("segments/%d", project) }
