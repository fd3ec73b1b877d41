package project

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// A project that a reload adds is in the set only when it is added, and nothing of one
// that cannot be opened stays. One that comes back is the project that it was.
func TestAProjectIsPreparedAndAdded(t *testing.T) {
	f := newFailing(t)
	app := &config.Project{Name: "app", ID: 2, TimeZone: time.UTC}
	if err := f.shared.Catalog.RegisterProject(t.Context(), app.ID, app.Name, "UTC"); err != nil {
		t.Fatal(err)
	}
	called, away := context.WithCancel(t.Context())
	away()
	if p, err := f.Prepare(called, app); err == nil {
		t.Fatalf("the catalog could not be read, and the project is open: %v", p.Drop())
	}
	p, err := f.Prepare(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if f.ByID(2) != nil || len(f.All()) != 1 {
		t.Error("it is in the set before it is added")
	}
	f.Add(p)
	if f.Of(app) != p || len(f.All()) != 2 || f.All()[1] != p {
		t.Error("it is not in the set")
	}
	again := *app
	if back, err := f.Returned(&again); err != nil || back != p {
		t.Errorf("the project that comes back is another one: %v", err)
	}
	for _, change := range []func(*config.Project){
		func(c *config.Project) { c.Identity = schema.Legacy },
		func(c *config.Project) { c.Token = "other" }, // plugins were configured with the one before
	} {
		again := *app
		change(&again)
		if _, err := f.Returned(&again); err == nil {
			t.Errorf("a project comes back with other attributes: %+v", again)
		}
	}
	if back, err := f.Returned(&config.Project{Name: "new", ID: 3}); back != nil || err != nil {
		t.Errorf("a project that was never there: %v %v", back, err)
	}
}
