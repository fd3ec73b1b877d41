package gcsbucket

import (
	"bytes"
	"errors"
	"hash/crc32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// sessionRequests match those of a resumable upload that was started.
var sessionRequests = faultproxy.Match{Path: "^/upload/", Query: "upload_id"}

// A service that keeps a part of a request is sent the rest of it, also when the
// answer that says so is lost, and the last request names the object's CRC-32C.
func TestTheRestOfAChunkIsSent(t *testing.T) {
	const keep = 3 << 20
	data := laketest.Steps(chunkSize + 2*keep + 1000)
	for _, lost := range []int{0, 1, 2, 3, 4, 5, 6} {
		proxy, server, s := newProxied(t, func(g *gcsserver.Server, _ *config) { g.KeepBytes = keep })
		if lost > 0 {
			proxy.Add(faultproxy.Rule{Match: sessionRequests, Nth: lost, Fault: faultproxy.LoseAnswer()})
		}
		if err := laketest.Put(t.Context(), s, "a.json.gz", data); err != nil {
			t.Fatalf("answer %d is lost: %v", lost, err)
		}
		if got := server.Files()["a.json.gz"]; !bytes.Equal(got, data) {
			t.Errorf("answer %d is lost: %d bytes are there, want %d", lost, len(got), len(data))
		}
		var ranges []string
		requests := proxy.Requests(sessionRequests)
		for _, r := range requests {
			ranges = append(ranges, strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "))
		}
		if want := []string{
			"0-8388607/*", "3145728-8388607/*", "6291456-8388607/*",
			"8388608-14681063/14681064", "11534336-14681063/14681064", "14680064-14681063/14681064",
		}; lost == 0 && !slices.Equal(ranges, want) {
			t.Errorf("the requests have the ranges %q, want %q", ranges, want)
		}
		if lost > 0 && len(ranges) != 7 {
			t.Errorf("answer %d is lost: %d requests, want one more than without: %q", lost, len(ranges), ranges)
		}
		sum := "crc32c=" + gcp.EncodeCRC(crc32.Checksum(data, gcp.Castagnoli))
		if got := requests[len(requests)-1].Header.Get("X-Goog-Hash"); got != sum {
			t.Errorf("the last request has the checksum %q, want %q", got, sum)
		}
	}
}

// A session that the service has dropped ends the attempt, with a class that begins
// another one, and leaves no object. The next attempt succeeds.
func TestASessionThatIsGoneIsNotAMissingObject(t *testing.T) {
	data := laketest.Steps(2*chunkSize + 1000)
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		for nth := 1; nth <= 3; nth++ {
			proxy, server, s := newProxied(t)
			proxy.Add(faultproxy.Rule{Match: sessionRequests, Nth: nth, Fault: faultproxy.Answer(status, nil, "")})
			err := laketest.Put(t.Context(), s, "a.json.gz", data)
			if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "dropped the upload") {
				t.Errorf("status %d to request %d: class %v of %v", status, nth, protocol.ClassOf(err), err)
			}
			if found := server.Objects(); len(found) > 0 || s.buffers.Lent() > 0 {
				t.Errorf("status %d to request %d: there are %v, and %d buffers are not given back", status, nth, found, s.buffers.Lent())
			}
			if err := laketest.Put(t.Context(), s, "a.json.gz", data); err != nil {
				t.Errorf("status %d to request %d: the next attempt: %v", status, nth, err)
			}
		}
	}
}

// The error of a cut connection does not show the session's id, with which anybody may
// write to the upload.
func TestErrorsHideTheSession(t *testing.T) {
	proxy, _, s := newProxied(t)
	proxy.Add(faultproxy.Rule{Match: sessionRequests, Fault: faultproxy.CutBefore()})
	up, err := s.newSession(t.Context(), "a.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("data")
	_, err = up.put(t.Context(), chunk{data: data, last: true}, data)
	uri, parseErr := url.Parse(up.uri)
	if parseErr != nil || uri.Query().Get("upload_id") == "" {
		t.Fatalf("the session is %q, %v", up.uri, parseErr)
	}
	if err == nil || strings.Contains(err.Error(), "upload_id="+uri.Query().Get("upload_id")) || !isTransient(err) {
		t.Errorf("%v", err)
	}
}

// Objects have the content type of their format, in one request, in chunks, and when
// a set is switched.
func TestContentTypes(t *testing.T) {
	for name, want := range map[string]string{"a.json.gz": "application/gzip", "a.parquet": "application/vnd.apache.parquet"} {
		_, s := newServer(t)
		write := func(name string, size int) {
			u, err := s.Create(t.Context(), name, lake.NewAttempt(1, 1))
			if err == nil {
				_, err = u.Write(laketest.Steps(size))
			}
			if err = errors.Join(err, u.Finish(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		write("small/"+name, 100)
		write("large/"+name, chunkSize+1)
		r, err := s.Replace(t.Context(), "set/"+name, "", lake.NewAttempt(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte("rows")); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Seal(t.Context()), r.Switch(t.Context())); err != nil {
			t.Fatal(err)
		}
		connected, err := s.connect.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"small/", "large/", "set/"} {
			o, err := connected.api.Objects.Get(s.bucket, dir+name).Context(t.Context()).Do()
			if err != nil {
				t.Fatal(err)
			}
			if o.ContentType != want {
				t.Errorf("%s%s has the content type %q, want %q", dir, name, o.ContentType, want)
			}
		}
	}
}
