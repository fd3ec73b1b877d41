package gcsbucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// newProxied is newServer with a fault proxy between the store and the server.
func newProxied(t *testing.T, change ...func(*gcsserver.Server, *config)) (*faultproxy.Proxy, *gcsserver.Server, *store) {
	t.Helper()
	server, s := newServer(t, change...)
	proxy := faultproxy.Start(t, s.connect.config.Endpoint)
	s.connect.config.Endpoint = proxy.URL
	return proxy, server, s
}

// An insert without a precondition is retried too: its name and bytes follow
// from the run (googleapis/google-cloud-go#6547).
func TestTheOnlyRequestOfASmallObjectIsRetried(t *testing.T) {
	for _, fault := range []faultproxy.Fault{
		faultproxy.Answer(http.StatusServiceUnavailable, nil, `{"error":{"code":503,"message":"Backend Error"}}`),
		faultproxy.Answer(http.StatusTooManyRequests, nil, `{"error":{"code":429,"message":"The rate of change requests exceeds the limit"}}`),
		faultproxy.CutBefore(), faultproxy.LoseAnswer(),
	} {
		proxy, server, s := newProxied(t)
		proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPost, Path: "^/upload/"}, Fault: fault})
		if err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(1000)); err != nil {
			t.Fatal(err)
		}
		if got := server.Files()["a.json.gz"]; !bytes.Equal(got, laketest.Steps(1000)) {
			t.Errorf("%d bytes are there, want 1000", len(got))
		}
	}
}

// Every chunk of a large object comes through a fault, and through a lost
// answer, the last one's too.
func TestChunksAreRetried(t *testing.T) {
	const size = 2*chunkSize + 100_000
	for chunk := 1; chunk <= 3; chunk++ {
		for _, fault := range []faultproxy.Fault{
			faultproxy.Answer(http.StatusServiceUnavailable, nil, ""), faultproxy.CutBefore(), faultproxy.LoseAnswer(),
		} {
			proxy, server, s := newProxied(t)
			// The session's URI is the server's own: requests go past the proxy
			// unless the answer names the proxy, which it does by the Host header.
			proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "^/upload/", Query: "upload_id"}, Nth: chunk, Fault: fault})
			err := laketest.Put(t.Context(), s, "large.json.gz", laketest.Steps(size))
			if err != nil && protocol.ClassOf(err) != protocol.Retryable {
				t.Fatalf("chunk %d: %v", chunk, err)
			}
			if got := server.Files()["large.json.gz"]; err == nil && !bytes.Equal(got, laketest.Steps(size)) {
				t.Errorf("chunk %d: %d bytes are there, want %d", chunk, len(got), size)
			}
			if err != nil {
				t.Errorf("chunk %d: %v", chunk, err)
			}
		}
	}
}

// The preconditions of a set are looked at when it is switched, not when its
// upload starts (googleapis/google-cloud-java#201).
func TestASetThatAnotherWriterSwitchedInBetweenIsRefused(t *testing.T) {
	server, s := newServer(t)
	const name = "7/mp_people_data/p-1.json.gz"
	version, err := s.WriteIf(t.Context(), name, []byte("first"), "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Replace(t.Context(), name, version, lake.NewAttempt(2, 2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(laketest.Steps(chunkSize + 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteIf(t.Context(), name, []byte("the other's"), version); err != nil {
		t.Fatal(err)
	}
	if err := r.Switch(t.Context()); !errors.Is(err, lake.ErrConflict) {
		t.Errorf("switch: %v, want ErrConflict", err)
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := string(server.Files()[name]); got != "the other's" || len(server.Files()) != 1 {
		t.Errorf("there are %v, %s holds %q", server.Objects(), name, got)
	}
}

// A source that fails in the middle leaves no short object: the upload is
// aborted and never closed (googleapis/google-cloud-go#596).
func TestASourceThatFailsLeavesNoObject(t *testing.T) {
	server, s := newServer(t)
	for _, size := range []int{1000, chunkSize + 1, 3 * chunkSize} {
		u, err := s.Create(t.Context(), "a.json.gz", lake.NewAttempt(1, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(laketest.Steps(size)); err != nil {
			t.Fatal(err)
		}
		if err := u.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := server.Objects(); len(found) > 0 {
		t.Errorf("there are %v", found)
	}
}

// An error that only the end of an upload shows reaches the caller
// (googleapis/google-cloud-go#1055).
func TestTheErrorOfTheLastRequestIsReturned(t *testing.T) {
	for _, size := range []int{1000, chunkSize + 1} {
		_, server, s := newProxied(t, func(g *gcsserver.Server, c *config) {
			c.KMSKey = "projects/p/locations/us/keyRings/r/cryptoKeys/k"
			g.DeniedKey = c.KMSKey
		})
		err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(size))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), "cryptoKeyEncrypterDecrypter") {
			t.Errorf("%d bytes: %v, hint %q", size, err, hintOf(err))
		}
		if len(server.Objects()) > 0 {
			t.Errorf("%d bytes: there are %v", size, server.Objects())
		}
	}
}

// Every object is written with the configured key: parts, manifests, sets
// that are sealed aside, and the composed set, which does not inherit it.
func TestEveryObjectIsEncryptedWithTheKey(t *testing.T) {
	const key = "projects/p/locations/us/keyRings/r/cryptoKeys/k"
	server, s := newServer(t, func(_ *gcsserver.Server, c *config) { c.KMSKey = key })
	l := lake.New(lake.Options{Store: s})
	for _, mode := range []sdk.Mode{sdk.Append, sdk.Replace} {
		run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.Events, Mode: mode, Number: 1, Fence: 1}
		days := laketest.Days{"2026-06-01": 2}
		if mode == sdk.Replace {
			run.Stream, days = sdk.People, laketest.Days{"": 2}
		}
		if _, err := laketest.Export(t.Context(), l, run, days); err != nil {
			t.Fatal(err)
		}
	}
	if err := laketest.Put(t.Context(), s, "large.json.gz", laketest.Steps(chunkSize+1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range server.Objects() {
		if server.Key(name) != key {
			t.Errorf("%s is encrypted with %q", name, server.Key(name))
		}
	}
	if n := len(server.Objects()); n < 5 {
		t.Errorf("only %d objects: %v", n, server.Objects())
	}
}

// A retention policy is found by the check, which overwrites and deletes, and
// makes a run a matter of configuration that is not retried
// (kubernetes/k8s.io#2755, pgbackrest/pgbackrest#1439).
func TestARetentionPolicyIsExplained(t *testing.T) {
	proxy, _, s := newProxied(t, func(g *gcsserver.Server, _ *config) { g.Retention = true })
	results := lake.Check(t.Context(), s, "", 7, "unique")
	failed := make(map[string]string)
	for _, r := range results {
		if !r.OK {
			failed[r.Action] = r.Detail
		}
	}
	for _, action := range []string{"overwrite", "delete"} {
		if !strings.Contains(failed[action], "retention policy") || !strings.Contains(failed[action], "--clear-retention-period") {
			t.Errorf("%s: %q", action, failed[action])
		}
	}
	if !strings.Contains(failed["delete"], "has left") {
		t.Errorf("the objects that are left are not named: %q", failed["delete"])
	}
	before := len(proxy.Requests())
	if _, err := s.WriteIf(t.Context(), "7/_penstock/mp_master_event/check-unique", nil, ""); err == nil {
		t.Error("an existing object was written")
	}
	err := laketest.Put(t.Context(), s, "7/_penstock/mp_master_event/check-unique", []byte("again"))
	if protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("class of %v", err)
	}
	if n := len(proxy.Requests()) - before; n != 2 {
		t.Errorf("%d requests, want 2: a refusal is not retried", n)
	}
}

// Sets that are replaced leave one object in a list of live ones, whatever
// versions the bucket keeps (snowflakedb/gosnowflake#1760).
func TestThreeSetsLeaveOneObject(t *testing.T) {
	server, s := newServer(t)
	l := lake.New(lake.Options{Store: s})
	for n := range int64(3) {
		run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.People, Mode: sdk.Replace, Number: n + 1, Fence: n + 1}
		if _, err := laketest.Export(t.Context(), l, run, laketest.Days{"": int(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	var sets []string
	for _, name := range server.Objects() {
		if strings.HasSuffix(name, ".json.gz") {
			sets = append(sets, name)
		}
	}
	if len(sets) != 1 || sets[0] != "7/mp_people_data/p-c0ffee.json.gz" {
		t.Errorf("there are %v", server.Objects())
	}
}

// An object aside that cannot be deleted does not undo the switch, which is done: the
// run is committed, and the next one deletes it (treeverse/lakeFS#1339,
// GoogleCloudPlatform/compute-image-tools#1628).
func TestAnObjectAsideThatIsLeftFailsNoCommit(t *testing.T) {
	proxy, server, s := newProxied(t)
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodDelete}, Fault: faultproxy.Answer(http.StatusForbidden, nil, "")})
	for n := range int64(2) {
		run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.People, Mode: sdk.Replace, Number: n + 1, Fence: n + 1}
		if _, err := laketest.Export(t.Context(), lake.New(lake.Options{Store: s}), run, laketest.Days{"": int(n + 1)}); err != nil {
			t.Fatalf("run %d: %v", n+1, err)
		}
		left := slices.ContainsFunc(server.Objects(), func(name string) bool { return strings.Contains(name, "/aside/") })
		if left != (n == 0) {
			t.Errorf("after run %d there are %v", n+1, server.Objects())
		}
	}
}

// No request carries an access control list: buckets with uniform access
// refuse them.
func TestNoAccessControlListIsSent(t *testing.T) {
	proxy, _, s := newProxied(t)
	for _, size := range []int{10, chunkSize + 1} {
		if err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(size)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range proxy.Requests() {
		r.Query.Del("projection") // full asks for the list, and sends none
		if strings.Contains(strings.ToLower(fmt.Sprint(r.Path, r.Query, r.Header)), "acl") {
			t.Errorf("%s", r)
		}
	}
}

// A service account's key makes a signed assertion, and requests carry the token that
// it is exchanged for.
func TestServiceAccountKey(t *testing.T) {
	var asked atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.PostForm.Get("assertion"), ".") != 2 {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token":"t0ken","expires_in":3600,"token_type":"Bearer"}`)
	}))
	t.Cleanup(tokens.Close)
	_, s := newServer(t, func(g *gcsserver.Server, c *config) {
		g.Token, c.Credentials = "t0ken", keyFile(t, tokens.URL)
	})
	for range 3 {
		if err := laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
}

// A key that was deleted is a matter of configuration; a token service that is
// down is not. The key never stands in the error.
func TestRefusedKeys(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		class  protocol.Class
	}{
		{http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, protocol.Configuration},
		{http.StatusUnauthorized, `{"error":"invalid_client"}`, protocol.Configuration},
		{http.StatusServiceUnavailable, `{"error":"backend"}`, protocol.Retryable},
	} {
		tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, tt.body, tt.status)
		}))
		t.Cleanup(tokens.Close)
		key := keyFile(t, tokens.URL)
		_, s := newServer(t, func(_ *gcsserver.Server, c *config) { c.Credentials = key })
		// A service that is down is asked again until the call's time is over.
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := s.WriteIf(ctx, "a", nil, "")
		if protocol.ClassOf(err) != tt.class {
			t.Errorf("%d: class %v of %v", tt.status, protocol.ClassOf(err), err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%d: the error shows the key: %v", tt.status, err)
		}
	}
}

// keyFile makes a service account's key whose token service is at url.
func keyFile(t *testing.T, url string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "private_key_id": "k", "client_id": "1",
		"client_email": "export@p.iam.gserviceaccount.com", "token_uri": url,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

// A permanent refusal of the service comes with a remedy.
func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, hint string
	}{
		{http.StatusForbidden, "export@p.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object.", "roles/storage.objectUser"},
		{http.StatusUnauthorized, "Invalid Credentials", "not accepted"},
		{http.StatusForbidden, "The billing account for the owning project is disabled in state absent", "enable billing"},
		{http.StatusBadRequest, "Bucket is a requester pays bucket but no user project provided.", "requester pays"},
		{http.StatusNotFound, "The specified bucket does not exist.", "gcloud storage buckets create gs://lake"},
	} {
		proxy, _, s := newProxied(t)
		body, err := json.Marshal(map[string]any{"error": map[string]any{"code": tt.status, "message": tt.body}})
		if err != nil {
			t.Fatal(err)
		}
		proxy.Add(faultproxy.Rule{Fault: faultproxy.Answer(tt.status, http.Header{"Content-Type": {"application/json"}}, string(body))})
		err = laketest.Put(t.Context(), s, "a.json.gz", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), tt.hint) {
			t.Errorf("%s: class %v, hint %q of %v", tt.body, protocol.ClassOf(err), hintOf(err), err)
		}
	}
}

// The names of buckets and objects, which messages hold, do not change the class or
// the remedy.
func TestNamesAreNotTheRefusal(t *testing.T) {
	_, s := newServer(t, func(g *gcsserver.Server, c *config) { g.Bucket, c.Bucket = "billing-bucket", "billing-bucket" })
	const name = "billing/bucket/7/mp_people_data/p-1.json.gz"
	r, err := s.Replace(t.Context(), name, "", lake.NewAttempt(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fence(t.Context(), name, lake.NewAttempt(1, 2)); err != nil {
		t.Fatal(err)
	}
	if err := r.Switch(t.Context()); !errors.Is(err, lake.ErrAborted) {
		t.Errorf("switch after a fence: %v, want ErrAborted", err)
	}
	refused := &googleapi.Error{
		Code:    http.StatusForbidden,
		Message: "export@p.iam.gserviceaccount.com does not have storage.objects.create access to billing-bucket/" + name + ".",
	}
	if hint := hintOf(s.classify("storage.objects.create", refused)); !strings.Contains(hint, objectRole) {
		t.Errorf("the hint is %q", hint)
	}
}

// Google's APIs refuse too many requests with status 403, too.
func TestThrottlingWithStatus403(t *testing.T) {
	for _, reason := range []string{"rateLimitExceeded", "userRateLimitExceeded"} {
		_, s := newServer(t)
		err := s.classify("storage.objects.create", &googleapi.Error{
			Code: http.StatusForbidden, Message: "Rate Limit Exceeded", Errors: []googleapi.ErrorItem{{Reason: reason}},
		})
		var e *sdk.Error
		if !errors.As(err, &e) || protocol.ClassOf(err) != protocol.Retryable || e.RetryAfter != throttleDelay {
			t.Errorf("%s: class %v, %+v", reason, protocol.ClassOf(err), err)
		}
	}
}

func TestRegionIsCompared(t *testing.T) {
	_, s := newServer(t)
	for region, ok := range map[string]bool{"us-central1": true, "europe-west3": false} {
		d := &destination{store: s, config: config{Bucket: "lake", Region: region}}
		if r := d.checkRegion(t.Context()); r.OK != ok {
			t.Errorf("%s: %+v", region, r)
		}
	}
}

func hintOf(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// Every call ends within its time limit, each page of a list too: the client retries
// without an end (googleapis/google-cloud-go#6547).
func TestEveryCallHasATimeLimit(t *testing.T) {
	_, s := newServer(t)
	s.callTimeout = time.Nanosecond
	ctx := t.Context()
	for call, f := range map[string]func() error{
		"Read":      func() error { _, _, err := s.Read(ctx, "a", 1); return err },
		"Stat":      func() error { _, err := s.Stat(ctx, "a"); return err },
		"ReadRange": func() error { _, err := s.ReadRange(ctx, "a", "1/1", 0, 1); return err },
		"WriteIf":   func() error { _, err := s.WriteIf(ctx, "a", []byte("x"), ""); return err },
		"List":      func() error { return s.List(ctx, "a", true, func(lake.Object) error { return nil }) },
		"Delete":    func() error { return s.Delete(ctx, []string{"a"}) },
		"Fence":     func() error { _, err := s.Fence(ctx, "a", lake.NewAttempt(1, 1)); return err },
	} {
		if err := f(); !errors.Is(err, context.DeadlineExceeded) || protocol.ClassOf(err) != protocol.Retryable {
			t.Errorf("%s: class %v of %v, want a retryable error of the deadline", call, protocol.ClassOf(err), err)
		}
	}
}

// A list of several pages is whole.
func TestAListHasManyPages(t *testing.T) {
	_, s := newServer(t)
	var names, listed []string
	for i := range pageSize + 2 {
		names = append(names, fmt.Sprintf("a/%05d", i))
	}
	for _, name := range names {
		if _, err := s.WriteIf(t.Context(), name, nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	err := s.List(t.Context(), "a/", true, func(o lake.Object) error {
		listed = append(listed, o.Name)
		return nil
	})
	if err != nil || !slices.Equal(listed, names) {
		t.Errorf("%d of %d objects are listed, %v", len(listed), len(names), err)
	}
}

// The time limit of single calls does not end an upload that takes longer
// (rudderlabs/rudder-server#2662).
func TestAnUploadMayTakeLongerThanACall(t *testing.T) {
	server, s := newServer(t)
	s.callTimeout = time.Nanosecond
	if _, _, err := s.Read(t.Context(), "large.json.gz", 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call beyond its limit: %v", err)
	}
	if err := laketest.Put(t.Context(), s, "large.json.gz", laketest.Steps(2*chunkSize+1)); err != nil {
		t.Fatal(err)
	}
	if got := server.Files()["large.json.gz"]; !bytes.Equal(got, laketest.Steps(2*chunkSize+1)) {
		t.Errorf("%d bytes are there", len(got))
	}
}
