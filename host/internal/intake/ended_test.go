package intake

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// A file that comes after a serving host has read its source to the end is read by the
// next host, or once a reload has changed the source; status says so.
func TestFilesThatTheNextStartReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"event":"a","properties":{"time":1780000000,"$insert_id":"`+name+`"}}`+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(more string) string {
		return `
project "shop" {
  id = 1
}
source "files" "in" {
  project = "shop"
  path    = "` + dir + `/*"
` + more + `}
`
	}
	write("a")
	l := serveSite(t, text(""))
	unread := func() *operation.Unread { return l.status().Sources[0].Unread }
	waitUntil(t, "the first file was read", func() bool { return unread() == nil })
	write("b")
	waitUntil(t, "status says when the second file is read", func() bool {
		u := unread()
		return u != nil && u.Files == 1 && u.NextStart
	})
	l.mustReload(text("  follow = true\n"))
	if u := unread(); u != nil && u.NextStart {
		t.Errorf("the source is followed, and status has %+v", u)
	}
}
