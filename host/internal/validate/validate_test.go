package validate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
)

// A directory that a host could not use is a mistake; one that it would make is not.
func TestDirectoriesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ data, blobs, want string }{
		{dir, filepath.Join(dir, "blobs"), ""},
		{filepath.Join(dir, "a", "b"), filepath.Join(dir, "a", "b", "blobs"), ""},
		{file, filepath.Join(file, "blobs"), "data_dir is " + file + ": it is a file"},
		{dir, filepath.Join(t.TempDir(), "new"), ""},
		{filepath.Join(dir, "data"), filepath.Join(file, "blobs"), "blobs is " + file + "/blobs: a part of its path is a file"},
	} {
		found := checkDirectories(&config.Config{Host: config.Host{DataDir: tt.data, Blobs: tt.blobs}})
		switch {
		case tt.want == "" && len(found) > 0, tt.want != "" && len(found) != 1:
			t.Errorf("%s, %s: %v", tt.data, tt.blobs, found)
		case tt.want != "" && !strings.Contains(found[0].Detail, tt.want):
			t.Errorf("%q is not said in %q", tt.want, found[0].Detail)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
			t.Error("a directory was made")
		}
	}
}

// Projects are compared with those that are registered, and the data directory is left
// as it is, also while a host serves it.
func TestProjectsAreAsTheyWereRegistered(t *testing.T) {
	t.Parallel()
	d := datadir.Dir{Data: filepath.Join(t.TempDir(), "data")}
	held, err := d.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), d.Path(datadir.CatalogFile), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RegisterProject(t.Context(), 1, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	compare := func() {
		t.Helper()
		for _, tt := range []struct {
			project config.Project
			want    string
		}{
			{config.Project{Name: "shop", ID: 1, TimeZone: time.UTC}, ""},
			{config.Project{Name: "other", ID: 2, TimeZone: tokyo}, ""},
			{config.Project{Name: "shop", ID: 2, TimeZone: time.UTC}, "Id of the project was changed"},
			{config.Project{Name: "renamed", ID: 1, TimeZone: tokyo}, "Time zone of the project was changed"},
		} {
			s := &stored{ctx: t.Context()}
			s.open(d.Data)
			found := s.compareProjects(&config.Config{Host: config.Host{DataDir: d.Data}, Projects: []*config.Project{&tt.project}})
			if s.err != nil || len(found) > 1 || tt.want == "" && len(found) > 0 || tt.want != "" && (len(found) == 0 || found[0].Summary != tt.want) {
				t.Errorf("%+v: %v, %v", tt.project, found, s.err)
			}
			s.close()
		}
	}
	compare()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	compare()
}
