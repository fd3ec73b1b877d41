package azurecontainer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

const set = "7/mp_people_data/p-c0ffee.json.gz"

// refusal is an answer of the service that refuses a request.
func refusal(status int, code, message string) faultproxy.Fault {
	return faultproxy.Answer(status, http.Header{"X-Ms-Error-Code": {code}, "Content-Type": {"application/xml"}, "X-Ms-Request-Id": {"0a0a-0b0b"}},
		fmt.Sprintf("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:0a0a-0b0b\nTime:2026-11-28T10:00:00Z</Message></Error>", code, message))
}

// uncommitted returns the number of uncommitted blocks of a name.
func uncommitted(t *testing.T, s *store, name string) int {
	t.Helper()
	now, err := s.state(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return len(now.uncommitted)
}

// Blocks of killed attempts do not pile up to the 100,000 that one name may have:
// each attempt's fence discards those of the one before
// (Azure/azure-sdk-for-net#22856).
func TestKilledAttemptsLeaveNoBlocksToTheNext(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	s := storeFor(t, configFor(server))
	for _, before := range []string{"", "a set in blocks"} {
		if before != "" {
			if err := replace(t.Context(), s, set, lake.NewAttempt(1, 1), []byte(before)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range int64(50) {
			by := lake.NewAttempt(n, n)
			if _, err := s.Fence(t.Context(), set, by); err != nil {
				t.Fatalf("attempt %d: %v", n, err)
			}
			if left := uncommitted(t, s, set); left != 0 {
				t.Fatalf("attempt %d finds %d blocks", n, left)
			}
			killed := s.newUpload(t.Context(), set, by)
			for i := range 20 {
				if err := killed.stage(i+1, []byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := replace(t.Context(), s, set, lake.NewAttempt(51, 51), []byte("the next")); err != nil {
			t.Fatal(err)
		}
		if left := uncommitted(t, s, set); left != 0 || string(server.Files("lake")[set]) != "the next" {
			t.Errorf("after the next attempt %d blocks are left, and the set is %q", left, server.Files("lake")[set])
		}
	}
}

// Parts are not fenced. When so many blocks are left under a part's name that the
// service takes no more, they are discarded, and the next attempt succeeds.
func TestTooManyBlocksOfAPart(t *testing.T) {
	proxy, server, s := newProxied(t)
	const name = "7/mp_master_event/2026/06/01/p-c0ffee-00000001-0001.json.gz"
	if err := s.stage(t.Context(), name, base64.StdEncoding.EncodeToString([]byte("left by an attempt that was killed, long ago, twice..")), []byte("x")); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{
		Match: faultproxy.Match{Method: http.MethodPut, Query: "comp=block"}, Nth: 2,
		Fault: refusal(http.StatusConflict, "BlockCountExceedsLimit", "The committed block count cannot exceed the maximum limit of 50,000 blocks."),
	})
	data := laketest.Steps(2*blockSize + 1)
	err := laketest.Put(t.Context(), s, name, data)
	if err != nil && !errors.Is(err, lake.ErrAborted) {
		t.Fatalf("the attempt that finds them: %v", err)
	}
	if err := laketest.Put(t.Context(), s, name, data); err != nil {
		t.Fatalf("the next attempt: %v", err)
	}
	if got := server.Files("lake")[name]; !bytes.Equal(got, data) {
		t.Errorf("%d bytes are there, want %d", len(got), len(data))
	}
}

// Blocks with ids of another length, as other programs leave them, make the service
// refuse ours (Azure/azure-sdk-for-js#22731).
func TestLeftBlocksOfAnotherLength(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	s := storeFor(t, configFor(server))
	for i, length := range []int{1, 16, 53, 64} {
		for _, before := range []string{"none", "in blocks", "in one request"} {
			name := fmt.Sprintf("7/mp_people_data/p-%d-%s.json.gz", i, strings.ReplaceAll(before, " ", "-"))
			write := map[string]func() error{
				"none":           func() error { return nil },
				"in blocks":      func() error { return replace(t.Context(), s, name, lake.NewAttempt(1, 1), []byte("before")) },
				"in one request": func() error { return laketest.Put(t.Context(), s, name, []byte("before")) },
			}[before]
			leave := func() error {
				return s.stage(t.Context(), name, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("i"), length)), []byte("left"))
			}
			data := laketest.Steps(blockSize + 100)
			err := errors.Join(write(), leave(), laketest.Put(t.Context(), s, name, data))
			if got := server.Files("lake")[name]; err != nil || !bytes.Equal(got, data) {
				t.Errorf("part over a blob %s, ids of %d: %d bytes, %v", before, length, len(got), err)
			}
			err = errors.Join(leave(), replace(t.Context(), s, name, lake.NewAttempt(2, 2), data[1:]))
			if got := server.Files("lake")[name]; err != nil || !bytes.Equal(got, data[1:]) {
				t.Errorf("set over a blob %s, ids of %d: %d bytes, %v", before, length, len(got), err)
			}
			if left := uncommitted(t, s, name); left != 0 {
				t.Errorf("%d blocks are left", left)
			}
		}
	}
	if n := len(server.Files("lake")); n != 12 {
		t.Errorf("there are %d blobs, want 12", n)
	}
}

// A fence leaves the bytes and properties of the blob as they are, whatever is
// discarded.
func TestAFenceKeepsTheBlob(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	s := storeFor(t, configFor(server))
	for name, write := range map[string]func(string) error{
		"in-blocks": func(name string) error {
			return replace(t.Context(), s, name, lake.NewAttempt(1, 1), laketest.Steps(blockSize+9))
		},
		"at-once": func(name string) error { return laketest.Put(t.Context(), s, name, laketest.Steps(blockSize-1)) },
		"foreign": func(name string) error {
			_, err := server.Container("lake").NewBlockBlobClient(name).UploadBuffer(t.Context(), laketest.Steps(blockSize+1), &blockblob.UploadBufferOptions{
				HTTPHeaders: headers("text/plain"),
			})
			return err
		},
	} {
		for _, blocks := range []bool{false, true} {
			if err := write(name); err != nil {
				t.Fatal(err)
			}
			before := server.Files("lake")[name]
			was, err := s.state(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if blocks {
				if err := s.newUpload(t.Context(), name, lake.NewAttempt(2, 2)).stage(1, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			v, err := s.Fence(t.Context(), name, lake.NewAttempt(3, 3))
			if err != nil {
				t.Fatal(err)
			}
			now, err := s.state(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if v == was.version || now.version != v {
				t.Errorf("%s, blocks %v: version %s, the fence returned %s; before it was %s", name, blocks, now.version, v, was.version)
			}
			if *now.headers.BlobContentType != *was.headers.BlobContentType {
				t.Errorf("%s, blocks %v: the type was %s and is %s", name, blocks, *was.headers.BlobContentType, *now.headers.BlobContentType)
			}
			if !bytes.Equal(server.Files("lake")[name], before) {
				t.Errorf("%s, blocks %v: the bytes have changed", name, blocks)
			}
		}
	}
}

// A placeholder that a killed fence has left is removed by the next one. Readers
// find an object without rows until then, in the format of the set.
func TestThePlaceholderOfAKilledFence(t *testing.T) {
	for _, set := range []string{set, strings.TrimSuffix(set, ".json.gz") + ".parquet"} {
		placeholderOfAKilledFence(t, set)
	}
}

func placeholderOfAKilledFence(t *testing.T, set string) {
	t.Helper()
	proxy, server, s := newProxied(t)
	if err := s.newUpload(t.Context(), set, lake.NewAttempt(1, 1)).stage(1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{
		Match: faultproxy.Match{Method: http.MethodDelete}, Times: maxRetries + 1, Fault: faultproxy.CutBefore(),
	})
	if _, err := s.Fence(t.Context(), set, lake.NewAttempt(2, 2)); protocol.ClassOf(err) != protocol.Retryable {
		t.Fatalf("fence: %v", err)
	}
	want, err := formats.Empty(set)
	if err != nil {
		t.Fatal(err)
	}
	if got := server.Files("lake")[set]; !bytes.Equal(got, want) {
		t.Fatalf("the placeholder is %x", got)
	}
	if now, err := s.state(t.Context(), set); err != nil || *now.headers.BlobContentType != formats.ContentType(set) {
		t.Errorf("the placeholder has the type %s, %v", *now.headers.BlobContentType, err)
	}
	v, err := s.Fence(t.Context(), set, lake.NewAttempt(3, 3))
	if err != nil || v != "" || len(server.Files("lake")) != 0 {
		t.Errorf("version %q, %v, and there are %d blobs", v, err, len(server.Files("lake")))
	}
}

// A reader that looks at any moment finds the old set or the new one, whole
// (blobfile/blobfile#109).
func TestAReaderNeverSeesAHole(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	s := storeFor(t, configFor(server))
	content := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, blockSize/8+n) }
	if err := replace(t.Context(), s, set, lake.NewAttempt(1, 1), content(0)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	seen := make(chan error, 1)
	reader := storeFor(t, configFor(server))
	go func() {
		defer close(seen)
		for {
			data, _, err := reader.Read(context.WithoutCancel(t.Context()), set, 1<<30)
			if err == nil && (len(data) == 0 || !bytes.Equal(data, content(int(data[0])))) {
				err = fmt.Errorf("%d bytes are a mixture", len(data))
			}
			if err != nil {
				seen <- err
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	for n := 1; n <= 20; n++ {
		killed := s.newUpload(t.Context(), set, lake.NewAttempt(int64(n), int64(2*n-1)))
		if err := killed.stage(1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := replace(t.Context(), s, set, lake.NewAttempt(int64(n), int64(2*n)), content(n)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	if err := <-seen; err != nil {
		t.Error(err)
	}
}

// Directories of a hierarchical namespace are listed as blobs without bytes: they
// are not files and are not deleted (Azure/azure-cli#23783,
// LanceMcCarthy/Action-AzureBlobUpload#478).
func TestDirectoriesAreNotFiles(t *testing.T) {
	proxy, server, s := newProxied(t)
	for _, name := range []string{"7", "7/mp_master_event", "7/mp_people_data", "7/mp_people_data/p-c0ffee-00000009-0001.json.gz"} {
		_, err := server.Container("lake").NewBlockBlobClient(name).UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{
			Metadata: map[string]*string{"Hdi_isfolder": to.Ptr("true")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := lake.New(lake.Options{Store: s})
	for n := range int64(2) {
		run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.People, Mode: sdk.Replace, Number: n + 1, Fence: n + 1}
		if _, err := laketest.Export(t.Context(), l, run, laketest.Days{"": 3}); err != nil {
			t.Fatal(err)
		}
	}
	var listed []string
	for _, deep := range []bool{true, false} {
		err := s.List(t.Context(), "7/mp_people_data/", deep, func(o lake.Object) error {
			listed = append(listed, o.Name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(listed, []string{set, set}) {
		t.Errorf("listed are %v", listed)
	}
	if n := len(proxy.Requests(faultproxy.Match{Method: http.MethodDelete, Path: "mp_people_data"})); n > 0 {
		t.Errorf("%d blobs were deleted", n)
	}
}

// A blob where a directory is, and the reverse, is a matter of the names.
func TestADirectoryInTheWay(t *testing.T) {
	for _, text := range []string{
		"The requested operation is not supported on a directory.",
		"The requested operation is not allowed in the current state of the entity.",
	} {
		_, s := newRefusing(t, refusal(http.StatusConflict, "UnsupportedOperation", text))
		err := laketest.Put(t.Context(), s, "a", []byte("x"))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), "hierarchical namespace") {
			t.Errorf("%v, hint %q", err, hintOf(err))
		}
	}
}

// A whole export copies and renames nothing: renames of directories do not
// overwrite (microsoft/AzureStorageExplorer#3811). Each request is one of those that
// the documentation counts.
func TestNothingIsRenamedOrCopied(t *testing.T) {
	proxy, _, s := newProxied(t)
	l := lake.New(lake.Options{Store: s})
	for n := range int64(2) {
		for _, run := range bothModes(n + 1) {
			if _, err := laketest.Export(t.Context(), l, run, daysOf(run)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range proxy.Requests() {
		for name := range r.Header {
			if strings.Contains(name, "Rename") || strings.Contains(name, "Copy-Source") {
				t.Errorf("%s has the header %s", r, name)
			}
		}
		operation := r.Method + " " + r.Query.Get("comp")
		if !slices.Contains([]string{"PUT ", "PUT block", "PUT blocklist", "PUT properties", "GET ", "GET list", "GET blocklist", "HEAD ", "DELETE "}, operation) {
			t.Errorf("%s is a request that is not expected", r)
		}
	}
}

func bothModes(n int64) []sdk.Run {
	run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.Events, Mode: sdk.Append, Number: n, Fence: n}
	people := run
	people.Stream, people.Mode = sdk.People, sdk.Replace
	return []sdk.Run{run, people}
}

func daysOf(run sdk.Run) laketest.Days {
	if run.Mode == sdk.Replace {
		return laketest.Days{"": 2}
	}
	return laketest.Days{"2026-06-01": 2, "2026-06-02": 1}
}

// busy is a transport that counts the blocks on their way.
type busy struct {
	http.RoundTripper
	mu        sync.Mutex
	now, most int
}

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("comp") != "block" {
		return b.RoundTripper.RoundTrip(r)
	}
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now--
	}()
	return b.RoundTripper.RoundTrip(r)
}

// The client's default number of concurrent blocks follows the number of CPUs, 8 to
// 96 (azblob 1.8.1). Ours does not: uploads share a fixed number of buffers.
func TestMemoryDoesNotFollowTheCPUs(t *testing.T) {
	const blocks = 3
	server := standin.StartAzurite(t, "lake")
	for _, cpus := range []int{16, 96} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cpus))
			proxy := faultproxy.Start(t, server.Endpoint)
			proxy.Add(faultproxy.Rule{
				Match: faultproxy.Match{Query: "comp=block"}, Times: -1, Fault: faultproxy.Delay(20 * time.Millisecond),
			})
			c := configFor(server)
			c.Endpoint = proxy.URL
			counted := &busy{RoundTripper: newTransport()}
			s := storeOver(t, c, counted)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() {
					if err := laketest.Put(t.Context(), s, fmt.Sprint(i), laketest.Steps(blocks*blockSize)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			runtime.ReadMemStats(&after)
			if counted.most > blockBuffers {
				t.Errorf("%d CPUs: %d blocks were on their way, want at most %d", cpus, counted.most, blockBuffers)
			}
			// The patterns are 45 MiB; copies of blocks would be as much again.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 3*blocks*blockSize+16<<20 {
				t.Errorf("%d CPUs: %d MiB were allocated", cpus, grown>>20)
			}
		}()
	}
}

// Lists go on behind short and empty pages (redpanda connect, 2025-03-26).
func TestEveryPageIsListed(t *testing.T) {
	pages := map[string]struct {
		from, to int
		next     string
	}{"": {0, 5000, "a"}, "a": {0, 0, "b"}, "b": {5000, 10_000, "c"}, "c": {0, 0, "d"}, "d": {10_000, 12_000, ""}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Query().Get("marker")]
		if !ok {
			t.Errorf("unknown marker in %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>`)
		for i := page.from; i < page.to; i++ {
			_, _ = fmt.Fprintf(w, "<Blob><Name>p/%05d</Name><Properties><Content-Length>%d</Content-Length></Properties></Blob>", i, i)
		}
		_, _ = fmt.Fprintf(w, "</Blobs><NextMarker>%s</NextMarker></EnumerationResults>", page.next)
	}))
	t.Cleanup(server.Close)
	s := storeFor(t, config{StorageAccount: "acmelake", Container: "lake", AccountKey: "a2V5", Endpoint: server.URL})
	for _, deep := range []bool{true, false} {
		n := 0
		err := s.List(t.Context(), "p/", deep, func(o lake.Object) error {
			if o.Name != fmt.Sprintf("p/%05d", n) || o.Size != int64(n) {
				return fmt.Errorf("blob %d is %v", n, o)
			}
			n++
			return nil
		})
		if err != nil || n != 12_000 {
			t.Errorf("deep %v: %d blobs, %v", deep, n, err)
		}
	}
}

// Every write names the encryption scope: blobs in one request, each block, block
// lists, and those of a fence.
func TestEveryWriteNamesTheEncryptionScope(t *testing.T) {
	proxy, _, s := newProxied(t, func(c *config) { c.EncryptionScope = "acme-scope" })
	l := lake.New(lake.Options{Store: s})
	for n := range int64(2) {
		for _, run := range bothModes(n + 1) {
			if _, err := laketest.Export(t.Context(), l, run, daysOf(run)); err != nil {
				t.Fatal(err)
			}
		}
		if err := laketest.Put(t.Context(), s, "large", laketest.Steps(2*blockSize+1)); err != nil {
			t.Fatal(err)
		}
		// Blocks of killed attempts, over a set, over nothing, and over a small blob.
		for _, name := range []string{set, "none", "small"} {
			if err := s.newUpload(t.Context(), name, lake.NewAttempt(1, 1)).stage(1, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Fence(t.Context(), name, lake.NewAttempt(2, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := laketest.Put(t.Context(), s, "small", laketest.Steps(10)); err != nil {
			t.Fatal(err)
		}
	}
	kinds := make(map[string]int)
	for _, r := range proxy.Requests(faultproxy.Match{Method: http.MethodPut}) {
		kind := r.Query.Get("comp")
		if kind == "properties" {
			continue // of a blob that exists
		}
		kinds[kind]++
		if r.Header.Get("X-Ms-Encryption-Scope") != "acme-scope" {
			t.Errorf("%s names the scope %q", r, r.Header.Get("X-Ms-Encryption-Scope"))
		}
		if kind != "blocklist" && r.Header.Get("X-Ms-Content-Crc64") == "" {
			t.Errorf("%s has no checksum", r)
		}
		if strings.Contains(r.Path, "_penstock") && strings.HasSuffix(r.Path, "c0ffee.json") && r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == "" {
			t.Errorf("%s writes a manifest without a condition", r)
		}
	}
	for _, kind := range []string{"", "block", "blocklist"} {
		if kinds[kind] < 4 {
			t.Errorf("only %d requests of the kind %q", kinds[kind], kind)
		}
	}
}

// corrupting is a transport that changes a byte of the first request of a kind.
type corrupting struct {
	http.RoundTripper
	kind string
	once sync.Once
}

func (c *corrupting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.URL.Query().Get("comp") == c.kind {
		c.once.Do(func() {
			data, _ := io.ReadAll(r.Body)
			data[len(data)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(data))
		})
	}
	return c.RoundTripper.RoundTrip(r)
}

// The service compares the checksum of each blob and block, and the plugin hears of
// a difference.
func TestBytesThatChangeOnTheWayAreRefused(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	for kind, size := range map[string]int{"": 1000, "block": blockSize + 1} {
		s := storeOver(t, configFor(server), &corrupting{RoundTripper: newTransport(), kind: kind})
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(size))
		if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(fmt.Sprint(err), "Mismatch") {
			t.Errorf("%q: class %v of %v", kind, protocol.ClassOf(err), err)
		}
		if len(server.Files("lake")) != 0 {
			t.Errorf("%q: the damaged blob is there", kind)
		}
		if err := laketest.Put(t.Context(), s, "a", laketest.Steps(size)); err != nil {
			t.Errorf("%q: the next attempt: %v", kind, err)
		}
		if err := s.Delete(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
	}
}

// The check tries to overwrite and to delete, which immutability policies and leases
// forbid, and reports all results at once; a run is then a matter of configuration
// that is not retried.
func TestPoliciesAreExplained(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	for code, want := range map[string]string{
		"BlobImmutableDueToPolicy": "immutability",
		"LeaseIdMissing":           "az storage blob lease break",
	} {
		proxy, s := proxied(t, server)
		status := http.StatusConflict
		if code == "LeaseIdMissing" {
			status = http.StatusPreconditionFailed
		}
		refused := refusal(status, code, "This operation is not permitted.")
		overwrite := faultproxy.Match{Method: http.MethodPut, Path: "check-" + code + "$"}
		proxy.Add(
			faultproxy.Rule{Match: overwrite, Nth: 2, Times: -1, Fault: refused},
			faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodDelete}, Times: -1, Fault: refused},
		)
		failed := make(map[string]string)
		for _, r := range lake.Check(t.Context(), s, "", 7, code) {
			if !r.OK {
				failed[r.Action] = r.Detail
			}
		}
		for _, action := range []string{"overwrite", "delete"} {
			if !strings.Contains(failed[action], want) {
				t.Errorf("%s: %s: %q", code, action, failed[action])
			}
		}
		if !strings.Contains(failed["delete"], "has left") || len(failed) != 2 {
			t.Errorf("%s: %v", code, failed)
		}
		before := len(proxy.Requests())
		err := laketest.Put(t.Context(), s, "7/_penstock/mp_master_event/check-"+code, []byte("again"))
		if protocol.ClassOf(err) != protocol.Configuration || len(proxy.Requests()) != before+1 {
			t.Errorf("%s: class %v of %v after %d requests", code, protocol.ClassOf(err), err, len(proxy.Requests())-before)
		}
	}
}
