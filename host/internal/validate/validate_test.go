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
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
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
			{config.Project{Name: "shop", ID: 1, TimeZone: tokyo, Place: config.Place{Incomplete: true}}, ""}, // timezone is misspelt
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

// A pipeline is compared with its registration, unless its block, or that of its project, has
// a mistake: the attributes are not those that were meant.
func TestPipelinesAreAsTheyWereRegistered(t *testing.T) {
	t.Parallel()
	d := &config.Destination{Type: "localfs", Name: "out"}
	registered := &pipeline.Pipeline{Definition: pipeline.Definition{Name: "out", ProjectID: 1, Stream: batch.People, Destination: d.Reference()}}
	s := &stored{pipelines: map[string]*pipeline.Pipeline{"out": registered}}
	mistaken := config.Place{Incomplete: true}
	for name, tt := range map[string]struct {
		pipeline config.Pipeline
		want     string
	}{
		"as before":                    {config.Pipeline{Stream: batch.People, Project: &config.Project{ID: 1}}, ""},
		"another stream":               {config.Pipeline{Stream: batch.Events, Project: &config.Project{ID: 1}}, "stream = people, and the configuration says events"},
		"a misspelt stream":            {config.Pipeline{Place: mistaken, Project: &config.Project{ID: 1}}, ""},
		"a misspelt id of its project": {config.Pipeline{Stream: batch.People, Project: &config.Project{Place: mistaken}}, ""},
	} {
		tt.pipeline.Name, tt.pipeline.Destination = "out", d
		found := s.comparePipelines(&config.Config{Pipelines: []*config.Pipeline{&tt.pipeline}})
		if len(found) > 1 || (len(found) == 0) != (tt.want == "") || len(found) == 1 && !strings.Contains(found[0].Detail, tt.want) {
			t.Errorf("%s: %v", name, found)
		}
	}
}
