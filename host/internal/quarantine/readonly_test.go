package quarantine

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A read-only store misses the same records as one that writes, with a torn tail
// and half a file, and leaves files and ledger as they are.
func TestAReadOnlyStoreChangesNothing(t *testing.T) {
	dir, o := filled(t)
	path := only(t, dir, "collector.web")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := whole[:len(whole)-5]
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/collector.web/"+temporary+"x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := func() map[string]string {
		t.Helper()
		values := map[string]string{}
		for _, source := range []string{"files.in", "collector.web"} {
			err := o.Ledger.Each(t.Context(), source, "", func(key string, value []byte) error {
				values[source+" "+key] = string(value)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return values
	}
	before := ledger()

	o.ReadOnly = true
	looked := openWith(t, dir, o)
	if _, err := looked.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	gotMissing, gotCounts, gotTexts := missing(t, looked), countsOf(t, looked), texts(t, looked)
	if data, err := os.ReadFile(path); err != nil || string(data) != string(torn) {
		t.Errorf("the file was changed: %v", err)
	}
	if _, err := os.Stat(dir + "/collector.web/" + temporary + "x"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, ledger()); diff != "" {
		t.Errorf("the ledger was changed:\n%s", diff)
	}

	o.ReadOnly = false
	writing := openWith(t, dir, o)
	if diff := cmp.Diff(missing(t, writing), gotMissing); diff != "" || len(gotMissing) != 1 {
		t.Errorf("missing: %s", diff)
	}
	if diff := cmp.Diff(countsOf(t, writing), gotCounts); diff != "" {
		t.Errorf("counts: %s", diff)
	}
	if diff := cmp.Diff(texts(t, writing), gotTexts); diff != "" {
		t.Errorf("entries: %s", diff)
	}
}

// A directory that does not exist is an empty read-only store.
func TestAReadOnlyStoreOfNoDirectory(t *testing.T) {
	dir := t.TempDir() + "/none"
	s := openWith(t, dir, Options{Now: clock, ReadOnly: true})
	if found := list(t, s); len(found) > 0 {
		t.Errorf("%v", found)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory was made: %v", err)
	}
}

// An overlay visits keys of both layers in order, changed values once.
func TestOverlay(t *testing.T) {
	base := NewMemoryLedger()
	set := func(l Ledger, values map[string]string) {
		t.Helper()
		encoded := map[string][]byte{}
		for key, value := range values {
			encoded[key] = []byte(value)
			if value == "" {
				encoded[key] = nil
			}
		}
		if err := l.Set(t.Context(), "s", encoded); err != nil {
			t.Fatal(err)
		}
	}
	set(base, map[string]string{"file/b": "1", "file/d": "1", "file/f": "1", "counted": "1"})
	l := newOverlay(base)
	set(l, map[string]string{"file/a": "2", "file/d": "2", "file/f": "", "file/g": "2", "missing/a": "2"})
	var got []string
	err := l.Each(t.Context(), "s", "file/", func(key string, value []byte) error {
		got = append(got, key+"="+string(value))
		return nil
	})
	if diff := cmp.Diff([]string{"file/a=2", "file/b=1", "file/d=2", "file/g=2"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if value, err := base.Get(t.Context(), "s", "file/f"); err != nil || string(value) != "1" {
		t.Errorf("the base was changed: %q, %v", value, err)
	}
}
