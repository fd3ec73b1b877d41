package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/sdk/batch"
)

// RebuildOptions say when a catalog is rebuilt.
type RebuildOptions struct {
	// Force rebuilds a catalog that is in order, too.
	Force bool
	// Now returns the time in the name of the old catalog's copy; required.
	Now func() time.Time
}

// HealthyCatalogError says that a catalog was not rebuilt because it is in order.
type HealthyCatalogError struct {
	Path      string
	Segments  int64
	Pipelines int
}

func (e *HealthyCatalogError) Error() string {
	return fmt.Sprintf("the catalog %s is in order: it lists %d segments, which are all there, and %d pipelines. Nothing has to be restored. "+
		"--force rebuilds it all the same", e.Path, e.Segments, e.Pipelines)
}

// Rebuild replaces the catalog in a data directory by one that is made from segments
// and commit records, and from the parts of the old one that can be read. The old
// file is kept. A catalog that is in order is a *HealthyCatalogError without Force.
// The data directory must exist; it is locked until Rebuild returns. projects are
// those of the configuration.
func Rebuild(ctx context.Context, d Dir, projects []*config.Project, o RebuildOptions) (*operation.RebuildReport, error) {
	report, err := rebuildLocked(ctx, d, projects, o)
	return report, d.Explain(err)
}

func rebuildLocked(ctx context.Context, d Dir, projects []*config.Project, o RebuildOptions) (report *operation.RebuildReport, err error) {
	held, err := d.lockAll(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if err := CheckRestored(d); err != nil {
		return nil, err
	}
	store, err := disk.OpenDir(d.Blobs)
	if err != nil {
		return nil, err
	}
	r := &rebuild{projects: projects, store: store, path: d.Path(CatalogFile), now: o.Now}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.readOld(ctx); err != nil {
		return nil, err
	}
	if !o.Force {
		if err := r.refuseHealthy(ctx); err != nil {
			return nil, err
		}
	}
	return r.do(ctx)
}

// rebuild rebuilds one catalog. The data directory is locked.
type rebuild struct {
	projects []*config.Project
	store    disk.Store
	path     string // of the catalog
	now      func() time.Time

	// A copy of the old catalog, brought to the present schema. The old file is
	// never changed.
	old    *catalog.Catalog
	oldErr error // why it cannot be read; nil: it can
}

// Suffixes of the files next to a catalog that a rebuild makes and removes.
const (
	copySuffix    = ".copy"
	rebuiltSuffix = ".rebuilt"
)

func (r *rebuild) close() error {
	var err error
	if r.old != nil {
		err = r.old.Close()
	}
	return errors.Join(err, catalog.Remove(r.path+copySuffix), catalog.Remove(r.path+rebuiltSuffix))
}

// readOld copies the old catalog and opens the copy.
func (r *rebuild) readOld(ctx context.Context) error {
	if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
		r.oldErr = errors.New("there is none")
		return nil
	}
	if err := catalog.Copy(r.path, r.path+copySuffix); err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	old, err := catalog.Open(ctx, r.path+copySuffix, "rebuild")
	var newer *catalog.NewerError
	switch {
	case errors.As(err, &newer), catalog.DiskFailed(err):
		return err
	case err != nil:
		r.oldErr = err
		return nil
	}
	r.old = old
	return nil
}

// refuseHealthy returns a *HealthyCatalogError if the old catalog can be read as
// a whole and lists the files that are in the store.
func (r *rebuild) refuseHealthy(ctx context.Context) error {
	if r.old == nil || r.old.Check(ctx) != nil {
		return nil
	}
	ids, err := Projects(ctx, r.old, r.store)
	if err != nil {
		return err
	}
	healthy := &HealthyCatalogError{Path: r.path}
	for _, id := range ids {
		sound, err := r.sound(ctx, id)
		if err != nil {
			return err
		}
		if !sound {
			return nil
		}
	}
	projects, err := r.old.Projects(ctx)
	if err != nil {
		return err
	}
	for _, p := range projects {
		healthy.Segments += p.Segments
	}
	pipelines, err := r.old.Pipelines(ctx)
	healthy.Pipelines = len(pipelines)
	if err != nil {
		return err
	}
	return healthy
}

// sound reports whether a project's segments, runs of keys and generations are
// those that the old catalog lists. Their contents are not read: journal verify
// does that.
func (r *rebuild) sound(ctx context.Context, id int64) (bool, error) {
	err := journal.Compare(ctx, r.old, r.store, id)
	var behind *journal.BehindError
	var lost *journal.LostCatalogError
	if errors.As(err, &behind) || errors.As(err, &lost) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	runs, err := r.old.KeyRuns(ctx, id)
	if err != nil {
		return false, err
	}
	blobs := make([]string, 0, len(runs))
	for _, run := range runs {
		blobs = append(blobs, run.Blob)
	}
	for _, stream := range []batch.Stream{batch.People, batch.Identity} {
		g, err := r.old.Generation(ctx, id, stream)
		if err != nil {
			return false, err
		}
		if g != nil {
			blobs = append(blobs, g.Blob)
		}
	}
	for _, blob := range blobs {
		f, err := r.store.Open(ctx, blob)
		if err != nil {
			return false, notExist(err)
		}
		if err := f.Close(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// innermost returns the error at the end of a chain, without the names of copies
// that are removed.
func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// notExist returns nil for the error of a file that is missing.
func notExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// do makes the new catalog and puts it in the place of the old one.
func (r *rebuild) do(ctx context.Context) (*operation.RebuildReport, error) {
	fresh := r.path + rebuiltSuffix
	if err := catalog.Remove(fresh); err != nil {
		return nil, err
	}
	c, err := catalog.Open(ctx, fresh, NewOwner())
	if err != nil {
		return nil, err
	}
	report := &operation.RebuildReport{NotRestored: []string{}}
	err = r.restoreJournal(ctx, c, report)
	if err == nil {
		err = r.restorePipelines(ctx, c, report)
	}
	// Closing checkpoints the log into the file: from here on it is one file.
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, fmt.Errorf("rebuild catalog: %w", err)
	}
	if err := r.replace(fresh, report); err != nil {
		return nil, fmt.Errorf("replace the catalog: %w", err)
	}
	return report, nil
}

// replace puts the new catalog in the place of the old one, which is kept with
// its log.
func (r *rebuild) replace(fresh string, report *operation.RebuildReport) error {
	kept := fmt.Sprintf("%s.%s", r.path, r.now().UTC().Format("20060102T150405Z"))
	found, err := catalog.Rename(r.path, kept)
	if err != nil {
		return err
	}
	if found {
		report.OldCatalog = kept
	}
	return os.Rename(fresh, r.path)
}

// restoreJournal fills an empty catalog from segments and commit records.
func (r *rebuild) restoreJournal(ctx context.Context, c *catalog.Catalog, report *operation.RebuildReport) error {
	ids, err := journal.Projects(ctx, r.store)
	if err != nil {
		return err
	}
	for _, id := range ids {
		p := r.configured(id)
		if p == nil {
			return fmt.Errorf("the journal holds project %d, which the configuration does not name: add it, for its time zone", id)
		}
		if r.old != nil {
			if err := recordLast(ctx, r.old, r.store, id); err != nil && !catalog.IsDamage(err) {
				return err
			}
		}
		if err := c.RegisterProject(ctx, p.ID, p.Name, p.TimeZone.String()); err != nil {
			return err
		}
		if err := restoreSeals(ctx, c, r.store, id, report); err != nil {
			return err
		}
	}
	return nil
}

// recordLast writes the records that a host left unwritten which was killed. An old copy
// of a catalog has none to write: a later host has done that, and may have replaced the
// files since.
func recordLast(ctx context.Context, old *catalog.Catalog, store disk.Store, id int64) error {
	var behind *journal.BehindError
	if err := journal.Compare(ctx, old, store, id); errors.As(err, &behind) {
		return nil
	}
	return journal.Record(ctx, old, store, id)
}

// configured returns the configured project of an id; nil: none has it.
func (r *rebuild) configured(id int64) *config.Project {
	for _, p := range r.projects {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func restoreSeals(ctx context.Context, c *catalog.Catalog, store disk.Store, project int64, report *operation.RebuildReport) error {
	cursors := map[string]bool{}
	count := func(s journal.Segment) {
		report.Segments++
		report.Rows += journal.Remaining(s).Rows
	}
	moved := func(moves []journal.CursorMove) {
		for _, m := range moves {
			cursors[m.Source+" "+m.Position] = true
		}
	}
	err := journal.Rebuild(ctx, store, project, func(s journal.Seal) error {
		count(s.Segment)
		moved(s.Cursors)
		return c.RestoreSeal(ctx, s)
	}, func(r journal.Rewrite) error {
		for _, s := range r.Seals {
			count(s)
		}
		moved(r.Cursors)
		return c.RestoreRewrite(ctx, r)
	})
	report.Cursors += int64(len(cursors))
	return err
}

// restorePipelines copies the parts that only the old catalog has, as far as they
// can be read.
func (r *rebuild) restorePipelines(ctx context.Context, c *catalog.Catalog, report *operation.RebuildReport) error {
	folded := "people and identity mappings: the next run of a pipeline that exports them folds the whole journal again"
	err := r.oldErr
	var s catalog.Salvage
	if r.old != nil {
		if err := r.registerProjects(ctx, c); err != nil {
			return err
		}
		if err := r.old.Close(); err != nil {
			return err
		}
		r.old = nil
		s, err = c.RestoreFrom(ctx, r.path+copySuffix)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if catalog.DiskFailed(err) {
		return err // the old catalog may be whole: it stays in its place
	}
	if err != nil {
		report.NotRestored = append(report.NotRestored, fmt.Sprintf("pipelines and their runs (the old catalog: %v). Each pipeline is registered again with a new id, "+
			"and exports everything from its from_date. A destination that holds rows of the old id refuses it, so that no row is there twice: "+
			"give the pipeline another target, or remove the old rows first. Do not set adopt = true for these dates: it keeps the old rows, "+
			"and every row would be there twice", innermost(err)), folded, "which quarantined records were replayed")
		return nil
	}
	report.Pipelines, report.Runs = s.Pipelines, s.Runs
	if s.RunsError != nil {
		report.NotRestored = append(report.NotRestored, fmt.Sprintf("runs (%v): the list of runs begins again. A pipeline that had an unfinished run "+
			"stops if its destination has committed it; 'penstock pipelines recover' shows how to go on", s.RunsError))
	}
	if s.QuarantineError != nil {
		report.NotRestored = append(report.NotRestored, fmt.Sprintf("which quarantined records were replayed (%v)", s.QuarantineError))
	}
	report.NotRestored = append(report.NotRestored, folded)
	return nil
}

// registerProjects registers the projects of the old catalog that have no seal.
func (r *rebuild) registerProjects(ctx context.Context, c *catalog.Catalog) error {
	projects, err := r.old.Projects(ctx)
	if catalog.IsDamage(err) {
		return nil // RestoreFrom returns it again
	}
	if err != nil {
		return err
	}
	for _, p := range projects {
		if p.Sequence > 0 {
			continue
		}
		if err := c.RegisterProject(ctx, p.ID, p.Name, p.TimeZone); err != nil {
			return err
		}
	}
	return nil
}

// Projects lists the projects that a catalog or a store knows, by id.
func Projects(ctx context.Context, c *catalog.Catalog, store disk.Store) ([]int64, error) {
	projects, err := c.Projects(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := journal.Projects(ctx, store)
	if err != nil {
		return nil, err
	}
	stored, err := journal.Stored(ctx, store)
	if err != nil {
		return nil, err
	}
	ids = append(ids, stored...)
	for _, p := range projects {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
