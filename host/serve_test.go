package host

import (
	"context"
	"path/filepath"
	"testing"
)

// A configuration that has nothing to serve yet is served until the host is stopped.
func TestAnEmptyConfigurationIsServed(t *testing.T) {
	t.Parallel()
	s := &filesSite{t, t.TempDir()}
	s.write("penstock.hcl", "host {\n  data_dir = \"./data\"\n  plugin_dir = \"./plugins\"\n}\n")
	c, _, err := Load(t.Context(), LoadOptions{Paths: []string{filepath.Join(s.dir, "penstock.hcl")}, Command: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	for !Serving(t.Context(), c) {
		select {
		case err := <-served:
			t.Fatalf("it ended by itself: %v", err)
		default:
		}
	}
	select {
	case err := <-served:
		t.Errorf("it ended by itself: %v", err)
	default:
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// A host that is stopped while it opens journals, which may take long after a crash,
// has no error.
func TestStoppingWhileJournalsAreOpenedIsNoError(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s.open(func(h *Host) {
		if err := h.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
}
