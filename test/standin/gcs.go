package standin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
)

// GCS is a running fake-gcs-server, which keeps its objects in memory. It takes
// no credentials, and so shows nothing about them.
type GCS struct {
	Address string // host and port, as STORAGE_EMULATOR_HOST names it

	t testing.TB
	p process
}

// StartGCS starts a server with the given buckets. It is stopped when the test
// ends.
func StartGCS(t testing.TB, buckets ...string) *GCS {
	t.Helper()
	port := freePort(t)
	g := &GCS{Address: "127.0.0.1:" + port, t: t}
	err := g.p.start(Binary(t, "fake-gcs-server"),
		"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-public-host", g.Address, "-backend", "memory")
	t.Cleanup(g.p.stop)
	if err == nil {
		err = g.p.await(g.Address)
	}
	if err != nil {
		t.Fatalf("start fake-gcs-server: %v", err)
	}
	for _, b := range buckets {
		g.post("/storage/v1/b?project=test", "application/json", fmt.Appendf(nil, `{"name":%q}`, b))
	}
	return g
}

// Put writes an object.
func (g *GCS) Put(bucket, name string, data []byte) {
	g.t.Helper()
	g.post("/upload/storage/v1/b/"+bucket+"/o?"+url.Values{"uploadType": {"media"}, "name": {name}}.Encode(), "application/octet-stream", data)
}

// Names lists the names of the objects in a bucket.
func (g *GCS) Names(bucket string) (names []string) {
	g.t.Helper()
	var list struct{ Items []struct{ Name string } }
	if err := json.Unmarshal(g.request(http.MethodGet, "/storage/v1/b/"+bucket+"/o", "", nil), &list); err != nil {
		g.t.Fatal(err)
	}
	for _, o := range list.Items {
		names = append(names, o.Name)
	}
	return names
}

func (g *GCS) post(path, contentType string, data []byte) {
	g.t.Helper()
	g.request(http.MethodPost, path, contentType, data)
}

func (g *GCS) request(method, path, contentType string, data []byte) []byte {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.Address+path, bytes.NewReader(data))
	if err != nil {
		g.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		g.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		g.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, body)
	}
	return body
}
