package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
)

// RebuildCatalog implements Operations. The old catalog is kept beside the new
// one, and stays in place when the new one cannot be made. A serving host
// refuses.
func (h *Host) RebuildCatalog(ctx context.Context) (*RebuildReport, error) {
	if h.serving {
		return nil, errors.New("the catalog can be rebuilt only while no host is running: stop it first")
	}
	path := filepath.Join(h.config.Host.DataDir, catalogFile)
	fresh := path + ".rebuilt"
	if err := removeCatalog(fresh); err != nil {
		return nil, err
	}
	c, err := catalog.Open(ctx, fresh, h.owner)
	if err != nil {
		return nil, err
	}
	report, err := h.restore(ctx, c)
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("rebuild catalog: %w", err), removeCatalog(fresh))
	}
	// Closing checkpoints the log into the file: from here on it is one file.
	if err := h.catalog.Close(); err != nil {
		return nil, err
	}
	h.catalog = nil
	kept := fmt.Sprintf("%s.%s", path, time.Now().UTC().Format("20060102T150405Z"))
	if err := errors.Join(os.Rename(path, kept), removeCatalog(path), os.Rename(fresh, path)); err != nil {
		return nil, fmt.Errorf("replace the catalog: %w", err)
	}
	report.NotRestored = append(report.NotRestored, "the old catalog is kept as "+kept)
	h.catalog, err = catalog.Open(ctx, path, h.owner)
	return report, err
}

// restore fills an empty catalog from segments and commit records.
func (h *Host) restore(ctx context.Context, c *catalog.Catalog) (*RebuildReport, error) {
	report := &RebuildReport{NotRestored: []string{
		"pipelines and their runs: each pipeline is registered anew with another id, and exports from its from_date again. " +
			"Destinations that hold the old ids refuse it, so that no row is there twice: give it another target, or remove what is there. " +
			"adopt = true adds events to what is there: it is for a from_date behind what was exported",
		"people and identity mappings: the next run of a pipeline that exports them folds them anew out of the whole journal",
		"which quarantined records were replayed",
	}}
	ids, err := journal.Projects(ctx, h.store)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		p := h.project(id)
		if p == nil {
			return nil, fmt.Errorf("the journal holds project %d, which the configuration does not name: add it, for its time zone", id)
		}
		if err := c.RegisterProject(ctx, p.ID, p.Name, p.TimeZone.String()); err != nil {
			return nil, err
		}
		cursors := map[string]bool{}
		err := journal.Rebuild(ctx, h.store, id, func(s journal.Seal) error {
			report.Segments++
			for _, e := range s.Extents {
				report.Rows += e.Rows
			}
			for _, m := range s.Cursors {
				cursors[m.Source+" "+m.Position] = true
			}
			return c.RestoreSeal(ctx, s)
		})
		if err != nil {
			return nil, err
		}
		report.Cursors += int64(len(cursors))
	}
	return report, nil
}

func (h *Host) project(id int64) *config.Project {
	for _, p := range h.config.Projects {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// removeCatalog removes a catalog's file and what SQLite keeps beside it.
func removeCatalog(path string) error {
	var failed error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
