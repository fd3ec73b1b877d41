package intake

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// site is an open data directory with the sources of a configuration.
type site struct {
	stores     *projecttest.Stores
	quarantine *quarantine.Store
	projects   *project.Set
	set        *Set
	config     *config.Live
	project    *project.Project // the first
}

// openSite opens the sources of a configuration, whose text has no host block, until
// the test ends.
func openSite(t testing.TB, text string) *site {
	t.Helper()
	s := openConfig(t, t.TempDir(), load(t, t.TempDir(), text))
	t.Cleanup(func() { s.close(t) })
	return s
}

// load reads a configuration, whose text has no host block, and whose paths are those
// in dir.
func load(t testing.TB, dir, text string) *config.Config {
	t.Helper()
	path := filepath.Join(dir, "penstock.hcl")
	if err := os.WriteFile(path, []byte("host {\n  data_dir = \"./data\"\n  plugin_dir = \"./plugins\"\n}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, found := config.Load(t.Context(), config.Options{Paths: []string{path}, Offline: true, Now: time.Now(), Env: os.LookupEnv})
	if found.HasErrors() {
		t.Fatal(found)
	}
	return c
}

// openConfig opens the sources of a configuration over the data directory dir. The
// caller calls close.
func openConfig(t testing.TB, dir string, c *config.Config) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &site{config: config.NewLive(c), stores: projecttest.Open(t, dir, c.Projects)}
	data, catalog := s.stores.Dir, s.stores.Catalog
	var err error
	if s.quarantine, err = quarantine.Open(data.Path(datadir.QuarantineDir), quarantine.Options{Ledger: catalog.Quarantine(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	s.projects = project.New(project.Options{
		Dir: data, Store: s.stores.Blobs, Spill: s.stores.Spill, Catalog: catalog, Now: time.Now, Log: log, Observer: progress.Discard{},
	}, c.Projects)
	s.set, err = Open(t.Context(), Options{
		Config: s.config.Get, Dir: data, Projects: s.projects, Catalog: catalog, Quarantine: s.quarantine, Now: time.Now, Wait: lifecycle.Wait,
		Grace: lifecycle.NewGrace(lifecycle.StopTime, lifecycle.StopLeast, time.Now), Log: log, Observer: progress.Discard{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if all := s.projects.All(); len(all) > 0 {
		s.project = all[0]
	}
	return s
}

func (s *site) close(t testing.TB) {
	t.Helper()
	s.set.Close()
	if err := errors.Join(s.projects.Close(), s.quarantine.Close(), s.stores.Close()); err != nil {
		t.Error(err)
	}
}
