package catalog

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The ledger keeps values over restarts, and visits those of a prefix in order,
// however many there are and while they are changed.
func TestQuarantineLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(t.Context(), path, "a")
	if err != nil {
		t.Fatal(err)
	}
	l := c.Quarantine()
	const many = 1203
	values := map[string][]byte{"file": []byte("before"), "filf": []byte("behind"), "file/gone": []byte("x")}
	for i := range many {
		values[fmt.Sprintf("file/%05d", i)] = fmt.Append(nil, i)
	}
	err = errors.Join(
		l.Set(t.Context(), "collector.web", values), l.Set(t.Context(), "files.in", map[string][]byte{"file/a": []byte("other")}),
		l.Set(t.Context(), "collector.web", map[string][]byte{"file/gone": nil, "file/00001": []byte("again")}), c.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Open(t.Context(), path, "b"); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l = c.Quarantine()
	seen := 0
	err = l.Each(t.Context(), "collector.web", "file/", func(key string, value []byte) error {
		want := fmt.Sprint(seen)
		if seen == 1 {
			want = "again"
		}
		if key != fmt.Sprintf("file/%05d", seen) || string(value) != want {
			t.Errorf("key %d is %s: %s", seen, key, value)
		}
		seen++
		return l.Set(t.Context(), "collector.web", map[string][]byte{key: nil})
	})
	if err != nil || seen != many {
		t.Errorf("%d keys, %v", seen, err)
	}
	value, err := l.Get(t.Context(), "collector.web", "file/00001")
	if err != nil || value != nil {
		t.Errorf("removed: %s, %v", value, err)
	}
	if value, err = l.Get(t.Context(), "files.in", "file/a"); err != nil || string(value) != "other" {
		t.Errorf("got %s, %v", value, err)
	}
	sources, err := l.Sources(t.Context())
	if diff := cmp.Diff([]string{"collector.web", "files.in"}, sources); err != nil || diff != "" {
		t.Errorf("sources (-want +got):\n%s%v", diff, err)
	}
	stop := errors.New("stop")
	if err := l.Each(t.Context(), "files.in", "", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Each returns %v", err)
	}
}
