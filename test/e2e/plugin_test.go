package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// A plugin that this machine cannot start as it is ends a run before any file is read,
// and 'plugins list' says so.
func TestAPluginThatCannotStartEndsARunAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  []string
		list  int
	}{
		{"not executable", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "penstock-destination-localfs"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"penstock-destination-localfs is not executable (mode 0600); run: chmod +x "}, 0},
		{"broken lock", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "plugins.lock"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"plugins.lock is not valid JSON", "put a copy of the file back", "penstock plugins trust"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), filepath.Join(penstocktest.Binaries, "plugins"), "./plugins", 1))
			s.events("a.ndjson", 0, 1, 10)
			copyPlugin(t, filepath.Join(s.Dir, "plugins"), "penstock-destination-localfs")
			tt.spoil(t, filepath.Join(s.Dir, "plugins"))
			for _, args := range [][]string{{"validate"}, {"run", "--once"}} {
				s.Says(s.Penstock(nil, args...), 2, tt.want...)
			}
			s.Says(s.Penstock(nil, "plugins", "list"), tt.list, tt.want...)
			if _, err := os.Stat(filepath.Join(s.Dir, "data")); err == nil {
				t.Error("the run has begun: there is a data directory")
			}
		})
	}
}

// copyPlugin makes a plugin directory of one plugin, with the lock that pins it.
func copyPlugin(t *testing.T, dir, file string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, "plugins.lock"} {
		data, err := os.ReadFile(filepath.Join(penstocktest.Binaries, "plugins", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}
