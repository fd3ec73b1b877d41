package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
)

// FuzzLoad: whatever the text, there is an answer, every diagnostic has a
// severity and a summary, and rendering it does not fail.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "a.hcl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, ds := Load(t.Context(), Options{
			Paths: []string{path}, Now: now, Schema: schemaOf,
			Env: func(name string) (string, bool) { return "x", strings.HasPrefix(name, "S") },
		})
		if len(c.Files[path]) != len(text) {
			t.Errorf("masking made %d bytes of %d", len(c.Files[path]), len(text))
		}
		for _, d := range ds {
			if d.Summary == "" || d.Detail == "" {
				t.Errorf("a diagnostic says nothing: %+v", d)
			}
		}
		var b strings.Builder
		diagnostic.WriteText(&b, ds, c.Files, true)
		if err := diagnostic.WriteJSON(&b, ds); err != nil {
			t.Error(err)
		}
	})
}
