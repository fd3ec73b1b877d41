package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/host/internal/config"
)

// A reload that fails forgets the projects that it has made known to the catalog, and no
// project that was known before.
func TestAReloadThatFailsForgetsOnlyNewProjects(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	if err := h.catalog.RegisterProject(t.Context(), 1, "before", "Asia/Kolkata"); err != nil {
		t.Fatal(err)
	}
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inUse.Close() })
	path := filepath.Join(filepath.Dir(h.dir.Data), "next.hcl")
	text := fmt.Sprintf(`
project "before" {
  id       = 1
  token    = "tok-1"
  timezone = "Asia/Kolkata"
}
project "new" {
  id    = 2
  token = "tok-2"
}
source "collector" "web" {
  projects = ["before", "new"]
  listen   = %q
}
`, inUse.Addr())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	next, _, err := Load(t.Context(), LoadOptions{Paths: []string{path}, Command: true})
	if err != nil {
		t.Fatal(err)
	}
	merged, _ := config.Merge(h.reload.live.Get(), next)
	if _, err := h.reload.prepare(t.Context(), merged); err == nil {
		t.Fatal("an address that is in use is not reported")
	}
	if ids, err := h.catalog.ProjectIDs(t.Context()); err != nil || !slices.Equal(ids, []int64{1}) {
		t.Errorf("the catalog knows the projects %v, want 1: %v", ids, err)
	}
}
