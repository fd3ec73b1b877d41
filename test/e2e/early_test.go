package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run --once exports full runs while sources are read: the server of a bucket holds back
// an object until the rows of the one before are at the destination. In the end each row
// of both is there, once.
func TestFullRunsAreExportedWhileSourcesAreRead(t *testing.T) {
	s := newSite(t)
	r := rand.New(rand.NewPCG(14, 1))
	lines := func(first, count int) string {
		var b strings.Builder
		for n := range count {
			noise := make([]string, 40)
			for i := range noise {
				noise[i] = fmt.Sprintf("%016x", r.Uint64())
			}
			b.WriteString(event(n%2, first+n, fmt.Sprintf(`,"noise":"%s"`, strings.Join(noise, ""))) + "\n")
		}
		return b.String()
	}
	objects := map[string]string{"a.ndjson": lines(0, 16_000), "b.ndjson": lines(16_000, 100)}
	exported := func() bool {
		manifests, err := filepath.Glob(filepath.Join(s.Dir, "out", "2195193", "_penstock", "mp_master_event", "*.json"))
		return err == nil && len(manifests) > 0
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Base(r.URL.Path)
		if name == "o" {
			listObjects(t, w, objects)
			return
		}
		rest := objects[name]
		if name == "b.ndjson" {
			_, _ = w.Write([]byte(rest[:100])) // the host sees what came
			_ = http.NewResponseController(w).Flush()
			rest = rest[100:]
			if !until(r, exported) {
				t.Error("nothing was exported while a source was read")
			}
		}
		_, _ = w.Write([]byte(rest))
	}))
	defer server.Close()
	config := strings.Replace(s.Read("penstock.hcl"), "./events/*", "gs://lake/*", 1)
	s.Write("penstock.hcl", strings.Replace(config, "stream      = \"events\"\n", "stream      = \"events\"\n  max_run     = \"1MiB\"\n", 1))
	s.Says(s.Penstock([]string{"STORAGE_EMULATOR_HOST=" + server.URL}, "run", "--once"), 0)
	rows := map[string]int{}
	for _, row := range s.Rows("out") {
		rows[row]++
	}
	if len(rows) != 16_100 {
		t.Errorf("%d rows arrived of 16,100", len(rows))
	}
	for row, n := range rows {
		if n != 1 {
			t.Fatalf("a row arrived %d times: %.200s", n, row)
		}
	}
}

// listObjects answers as Google's storage lists objects.
func listObjects(t *testing.T, w http.ResponseWriter, objects map[string]string) {
	type item struct {
		Name       string    `json:"name"`
		Size       int       `json:"size,string"`
		Updated    time.Time `json:"updated"`
		Generation int       `json:"generation,string"`
	}
	var page struct {
		Items []item `json:"items"`
	}
	for name, data := range objects {
		page.Items = append(page.Items, item{name, len(data), base, 1})
	}
	if err := json.NewEncoder(w).Encode(page); err != nil {
		t.Error(err)
	}
}

// until waits until done returns true. It gives up when the client of a request is gone,
// and after some minutes, which is long enough for any machine.
func until(r *http.Request, done func() bool) bool {
	tick, limit := time.NewTicker(20*time.Millisecond), time.NewTimer(3*time.Minute)
	defer tick.Stop()
	defer limit.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit.C:
			return false
		case <-r.Context().Done():
			return false
		}
	}
	return true
}
