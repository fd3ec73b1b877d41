package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// open opens a host in a directory of its own. The text of its configuration has no
// host block.
func open(t *testing.T, text string) *Host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.hcl")
	if err := os.WriteFile(path, []byte("host {\n  data_dir = \"./data\"\n  plugin_dir = \"./plugins\"\n}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(t.Context(), LoadOptions{Paths: []string{path}, Command: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// A configuration that has nothing to serve yet is served until the host is stopped.
func TestAnEmptyConfigurationIsServed(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	for !Serving(t.Context(), h.config) {
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
}

// A host that is stopped while it opens journals, which may take long after a crash,
// has no error.
func TestStoppingWhileJournalsAreOpenedIsNoError(t *testing.T) {
	t.Parallel()
	h := open(t, "project \"shop\" {\n  id = 1\n}\n")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := h.Serve(ctx); err != nil {
		t.Error(err)
	}
}
