package intake

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// site is an open data directory with the sources of a configuration.
type site struct {
	catalog    *catalog.Catalog
	quarantine *quarantine.Store
	set        *Set
	project    *project.Project // the first
}

// openSite opens the sources of a configuration, whose text has no host block.
func openSite(t testing.TB, text string) *site {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "penstock.hcl")
	if err := os.WriteFile(path, []byte("host {\n  data_dir = \"./data\"\n  plugin_dir = \"./plugins\"\n}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, found := config.Load(t.Context(), config.Options{Paths: []string{path}, Offline: true, Now: time.Now(), Env: os.LookupEnv})
	if found.HasErrors() {
		t.Fatal(found)
	}
	return openConfig(t, c, slog.New(slog.DiscardHandler))
}

// openConfig opens the sources of a configuration.
func openConfig(t testing.TB, c *config.Config, log *slog.Logger) *site {
	t.Helper()
	data := datadir.Dir{Data: t.TempDir()}
	data.Blobs = data.Path("blobs")
	store, err := disk.OpenDir(data.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	spill, err := disk.OpenDir(data.Path(datadir.SpillDir))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	if s.catalog, err = catalog.Open(t.Context(), data.Path(datadir.CatalogFile), "test"); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Projects {
		if err := s.catalog.RegisterProject(t.Context(), p.ID, p.Name, p.TimeZone.String()); err != nil {
			t.Fatal(err)
		}
	}
	if s.quarantine, err = quarantine.Open(data.Path(datadir.QuarantineDir), quarantine.Options{Ledger: s.catalog.Quarantine(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	projects := project.New(project.Options{
		Dir: data, Store: store, Spill: spill, Catalog: s.catalog, Now: time.Now, Log: log, Observer: progress.Discard{},
	}, c.Projects)
	s.set, err = Open(t.Context(), Options{
		Config: c, Dir: data, Projects: projects, Catalog: s.catalog, Quarantine: s.quarantine, Now: time.Now, Wait: lifecycle.Wait,
		Grace: lifecycle.NewGrace(lifecycle.StopTime, lifecycle.StopLeast, time.Now), Log: log, Observer: progress.Discard{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if all := projects.All(); len(all) > 0 {
		s.project = all[0]
	}
	t.Cleanup(func() {
		s.set.Close()
		if err := errors.Join(projects.Close(), s.quarantine.Close(), s.catalog.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sealOperations seals operations on some profiles, and as many events.
func sealOperations(t testing.TB, p *project.Project, from, to int) {
	t.Helper()
	w, err := p.Journal.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var c journal.Chunk
	for n := from; n < to; n++ {
		o := schema.Operation{DistinctID: fmt.Sprint("u", n%7), Verb: schema.Append, Time: 1780315200000, Value: fmt.Appendf(nil, `{"n":%d}`, n)}
		for _, kind := range []journal.Kind{journal.KindProfiles, journal.KindEvents} {
			start := len(c.Data)
			c.Data = schema.AppendOperation(c.Data, o)
			row := c.Data[start:]
			c.Rows = append(c.Rows, journal.Row{
				Offset: start, Length: len(row), Time: 1780315200, Kind: kind, Key: schema.OperationKey(fmt.Append(nil, n, kind), row),
			})
		}
	}
	if err := errors.Join(w.Append(t.Context(), c), w.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
}
