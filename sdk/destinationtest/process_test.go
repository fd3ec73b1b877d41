package destinationtest

import (
	"path/filepath"
	"testing"
)

// Between the beginning and the end of ShareBuilds a plugin has one binary; otherwise each
// Run builds its own.
func TestBuildsAreShared(t *testing.T) {
	b := new(sharedBuilds)
	if path, built := b.place(t, "a"); built || filepath.Base(path) != "plugin" {
		t.Errorf("without sharing: %s, %t", path, built)
	}
	dir := t.TempDir()
	b.share(dir)
	first, built := b.place(t, "a")
	if second, _ := b.place(t, "b"); built || second == first || filepath.Dir(first) != dir {
		t.Errorf("two plugins are built at %s and %s", first, second)
	}
	b.add("a", first)
	if path, built := b.place(t, "a"); !built || path != first {
		t.Errorf("a plugin that was built is at %s, %t", path, built)
	}
	b.share("")
	b.add("a", first)
	if _, built := b.place(t, "a"); built {
		t.Error("a plugin is kept after the end")
	}
}
