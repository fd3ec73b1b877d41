package host

import (
	"context"
	"errors"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Look opens the data directory of a configuration for reading, or, when a host
// is serving it, speaks with that host. It makes and changes nothing in the data
// directory, which may be read-only. Of one that does not exist, Status, Plan
// and ListDestinations tell what a first run would find; the other calls return a
// *NoDataDirError.
func Look(ctx context.Context, c *Config) (operation.Views, error) {
	missing := CheckDataDir(c)
	var none *NoDataDirError
	if missing != nil && !errors.As(missing, &none) {
		return nil, missing
	}
	held, r, err := lockOrReach(ctx, c, dirOf(c).LockForLook)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return r, nil
	}
	h := newHost(c, Options{}, held)
	h.scratch = datadir.NewScratch()
	if err := h.openLook(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &view{h.service(), missing}, nil
}

// openLook opens the parts that a host reads.
func (h *Host) openLook(ctx context.Context) (err error) {
	if err := datadir.CheckRestored(h.dir); err != nil {
		return err
	}
	h.store = disk.OpenReadOnly(h.config.Host.Blobs)
	if h.catalog, err = catalog.Look(ctx, h.dir.Path(datadir.CatalogFile), h.scratch.Path); err != nil {
		return err
	}
	return h.compose(ctx, nil, "")
}

// view answers Views from a data directory that no host serves.
type view struct {
	Views
	missing error // a *NoDataDirError; nil: the data directory exists
}

func (v *view) Status(ctx context.Context) (*operation.Status, error) {
	s, err := v.Views.Status(ctx)
	if s != nil {
		s.DataDirMissing = v.missing != nil
	}
	return s, err
}

func (v *view) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	return viewed(v, func() ([]operation.PipelineStatus, error) { return v.Views.Pipelines(ctx) })
}

func (v *view) Pipeline(ctx context.Context, name string) (*operation.PipelineDetail, error) {
	return viewed(v, func() (*operation.PipelineDetail, error) { return v.Views.Pipeline(ctx, name) })
}

func (v *view) Run(ctx context.Context, name string, number int64) (*operation.RunDetail, error) {
	return viewed(v, func() (*operation.RunDetail, error) { return v.Views.Run(ctx, name, number) })
}

func (v *view) Runs(ctx context.Context, f operation.RunFilter) ([]operation.RunStatus, error) {
	return viewed(v, func() ([]operation.RunStatus, error) { return v.Views.Runs(ctx, f) })
}

func (v *view) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	return viewed(v, func() ([]operation.SegmentStatus, error) { return v.Views.Segments(ctx) })
}

func (v *view) JournalStats(ctx context.Context) ([]operation.JournalStats, error) {
	return viewed(v, func() ([]operation.JournalStats, error) { return v.Views.JournalStats(ctx) })
}

func (v *view) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	return viewed(v, func() (*operation.JournalReport, error) { return v.Views.VerifyJournal(ctx) })
}

func (v *view) Quarantine(ctx context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	return viewed(v, func() (*operation.QuarantineList, error) { return v.Views.Quarantine(ctx, f) })
}

func (v *view) IdentityFailures(ctx context.Context, f operation.IdentityFilter) (*operation.IdentityFailures, error) {
	return viewed(v, func() (*operation.IdentityFailures, error) { return v.Views.IdentityFailures(ctx, f) })
}

// viewed calls do, unless the data directory does not exist.
func viewed[R any](v *view, do func() (R, error)) (R, error) {
	if v.missing != nil {
		var none R
		return none, v.missing
	}
	return do()
}
