package files

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// broken is a bucket with one object, "in/a b", whose server fails as it is told to.
type broken struct {
	data []byte
	sum  uint32
	cut  int // bytes after which a connection breaks; 0: none does
	fail int // answers of 503 that are left
	asks []string
}

func (b *broken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asks = append(b.asks, r.URL.EscapedPath()+" "+r.Header.Get("Range")+" "+r.URL.Query().Get("generation"))
	if b.fail > 0 {
		b.fail--
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	from := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b.data)-1, len(b.data)))
	}
	w.Header().Set("X-Goog-Generation", "7")
	w.Header().Set("X-Goog-Hash", "crc32c="+base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, b.sum))+",md5=AAAA")
	rest := b.data[from:]
	w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if b.cut > 0 && len(rest) > b.cut {
		_, _ = w.Write(rest[:b.cut]) // the test sees what came
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(rest)
}

// openBroken opens the object's bucket.
func openBroken(t *testing.T, b *broken) place {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Setenv(emulatorEnv, server.URL)
	p, err := newPlace(t.Context(), "gs://lake/in/*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A connection that breaks is replaced, from where it broke and for the same version
// of the object; an answer that says later is asked for again.
func TestAnObjectIsReadOverBrokenConnections(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10)
	b := &broken{data: data, sum: crc32.Checksum(data, castagnoli), cut: 30, fail: 1}
	p := openBroken(t, b)
	r, err := p.open(t.Context(), "gs://lake/in/a b", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	want := "/storage/v1/b/lake/o/in%2Fa%20b  |/storage/v1/b/lake/o/in%2Fa%20b  |/storage/v1/b/lake/o/in%2Fa%20b bytes=30- 7|" +
		"/storage/v1/b/lake/o/in%2Fa%20b bytes=60- 7|/storage/v1/b/lake/o/in%2Fa%20b bytes=90- 7"
	if asked := strings.Join(b.asks, "|"); asked != want {
		t.Errorf("asked\n%s, want\n%s", asked, want)
	}
}

// Bytes that are not those of the object are an error, and so is a connection that
// breaks again at the same place.
func TestAnObjectThatIsNotRead(t *testing.T) {
	b := &broken{data: []byte("content"), sum: 1}
	r, err := openBroken(t, b).open(t.Context(), "gs://lake/in/a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("other bytes: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	denied := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":{"message":"it does not have storage.objects.list access"}}`))
	}))
	defer denied.Close()
	t.Setenv(emulatorEnv, denied.URL)
	began := time.Now()
	p, err := newPlace(t.Context(), "gs://lake/in/*")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.list(t.Context())
	if err == nil || !strings.Contains(err.Error(), "list gs://lake/in/: the server answered 403: it does not have storage.objects.list access") {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// Parameters are those of gocloud.dev, and a wrong one is named.
func TestParametersOfGoogleBuckets(t *testing.T) {
	t.Setenv(emulatorEnv, "localhost:1")
	for address, want := range map[string]string{
		"gs://lake/*?anonymous=true&access_id=a&private_key_path=b": "",
		"gs://lake/*?anonymous=perhaps":                             `the parameter anonymous is "perhaps"`,
		"gs://lake/*?prefix=a":                                      `unknown parameter "prefix"`,
	} {
		p, err := newPlace(t.Context(), address)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", address, err)
		case p != nil:
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}
	}
}
