package validate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// stored is the catalog of the data directory that a configuration names. It
// is opened on first use, and only if the file exists. The caller closes it.
type stored struct {
	ctx context.Context

	dir       string // data directory; "": none was looked into
	locks     datadir.Locks
	scratch   *datadir.Scratch
	catalog   *catalog.Catalog
	projects  []catalog.Project
	pipelines map[string]*pipeline.Pipeline
	err       error // why the catalog cannot be read
}

// open reads the catalog of a data directory, once.
func (s *stored) open(dataDir string) {
	if dataDir == "" || dataDir == s.dir {
		return
	}
	s.close()
	*s = stored{ctx: s.ctx, dir: dataDir, scratch: datadir.NewScratch(), pipelines: map[string]*pipeline.Pipeline{}}
	d := datadir.Dir{Data: dataDir}
	path := d.Path(datadir.CatalogFile)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return // the data directory itself is checked elsewhere
	case err != nil:
		s.err = err
		return
	}
	var locked *datadir.LockedError
	if s.locks, s.err = d.LockForLook(); errors.As(s.err, &locked) {
		s.catalog, s.err = catalog.LookShared(s.ctx, path)
	} else if s.err == nil {
		s.catalog, s.err = catalog.Look(s.ctx, path, s.scratch.Path)
	}
	if s.err != nil {
		return
	}
	if s.projects, s.err = s.catalog.Projects(s.ctx); s.err != nil {
		return
	}
	var all []*pipeline.Pipeline
	all, s.err = s.catalog.Pipelines(s.ctx)
	for _, p := range all {
		s.pipelines[p.Name] = p
	}
}

func (s *stored) close() {
	// Everything was only read: there is nothing to lose.
	if s.catalog != nil {
		_ = s.catalog.Close()
		s.catalog = nil
	}
	if s.scratch != nil {
		_ = s.scratch.Close()
		s.scratch = nil
	}
	_ = s.locks.Close()
	s.locks = nil
}

// registered returns the from_date of a registered pipeline.
func (s *stored) registered(dataDir, name string) (from journal.Day, ok bool) {
	s.open(dataDir)
	if p := s.pipelines[name]; p != nil {
		return p.From, true
	}
	return 0, false
}

// compareProjects reports projects that were registered with another id or
// time zone.
func (s *stored) compareProjects(c *config.Config) diagnostic.Diagnostics {
	var found diagnostic.Diagnostics
	for _, p := range c.Projects {
		if p.Incomplete {
			continue
		}
		for _, registered := range s.projects {
			if mistake := compareProject(p, registered, c.Host.DataDir); mistake != nil {
				found = append(found, mistake)
			}
		}
	}
	return found
}

func compareProject(p *config.Project, registered catalog.Project, dataDir string) *hcl.Diagnostic {
	attribute, summary, detail := "", "", ""
	switch {
	case p.Name == registered.Name && p.ID != registered.ID && p.ID > 0:
		attribute, summary = "id", "Id of the project was changed"
		detail = fmt.Sprintf("Project %q was registered in %s with id = %d, and its journal and its objects at destinations have that id. "+
			"Write id = %d, or give a new project another name.", p.Name, dataDir, registered.ID, registered.ID)
	case p.ID == registered.ID && p.TimeZone.String() != registered.TimeZone:
		attribute, summary = "timezone", "Time zone of the project was changed"
		detail = fmt.Sprintf("Project %q was registered in %s with timezone = %q, which decides the days of its rows and is fixed since then. "+
			"Write timezone = %q. For another time zone collect into a new data_dir.", p.Name, dataDir, registered.TimeZone, registered.TimeZone)
	default:
		return nil
	}
	at := p.AttributeRange(attribute)
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at, Context: p.Range.Ptr()}
}

// comparePipelines reports pipelines that were registered otherwise. A block that has a
// mistake, or whose project has one, is compared once it is corrected.
func (s *stored) comparePipelines(c *config.Config) diagnostic.Diagnostics {
	var found diagnostic.Diagnostics
	for _, p := range c.Pipelines {
		registered := s.pipelines[p.Name]
		if registered == nil || p.Incomplete || p.Project == nil || p.Project.Incomplete || p.Destination == nil {
			continue
		}
		if mistake := destination.Refused(p, registered.Unchanged(p.Definition())); mistake != nil {
			found = append(found, mistake)
		}
	}
	return found
}

// compareTargets reports pipelines whose targets hold the same dates of a
// pipeline that is registered, and that do not adopt them.
func (s *stored) compareTargets(p *config.Pipeline, targets []pipeline.Target) *hcl.Diagnostic {
	if s.catalog == nil || s.err != nil {
		return nil
	}
	return destination.Refused(p, s.catalog.TargetsTaken(s.ctx, p.Definition(), targets))
}
