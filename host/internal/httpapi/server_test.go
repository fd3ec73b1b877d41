package httpapi

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

const testToken = "0c5f1d-token"

// answering answers some operations; a call of another one panics.
type answering struct {
	operation.Operations
	entered chan struct{} // told of each verification that begins; it ends with its context
}

func (answering) Status(context.Context) (*operation.Status, error) {
	return &operation.Status{Version: "1.2.3", Running: true}, nil
}

func (answering) Pipelines(context.Context) ([]operation.PipelineStatus, error) {
	return []operation.PipelineStatus{{Name: "c"}, {Name: "a"}, {Name: "b"}}, nil
}

func (answering) Pipeline(_ context.Context, name string) (*operation.PipelineDetail, error) {
	return nil, operation.Faultf(operation.UnknownPipeline, "no such pipeline: %q", name)
}

func (answering) RunPipeline(_ context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	return &operation.PipelineSummary{Name: name, Error: fmt.Sprint(allowShrink)}, nil
}

// Runs has 5 runs of each pipeline.
func (answering) Runs(_ context.Context, f operation.RunFilter) ([]operation.RunStatus, error) {
	var runs []operation.RunStatus
	for n := int64(5); n > 0 && len(runs) < f.Limit; n-- {
		if f.Before == 0 || n < f.Before {
			runs = append(runs, operation.RunStatus{Pipeline: f.Pipeline, Number: n})
		}
	}
	return runs, nil
}

// Quarantine has 3 records.
func (answering) Quarantine(_ context.Context, f quarantine.Filter) (*operation.QuarantineList, error) {
	ids := []string{"x", "y", "z"}
	list := &operation.QuarantineList{}
	for _, id := range ids[slices.Index(ids, f.After)+1:] {
		if len(list.Records) < f.Limit {
			list.Records = append(list.Records, operation.QuarantinedRecord{ID: id})
		}
	}
	return list, nil
}

func (a answering) VerifyJournal(ctx context.Context) (*operation.JournalReport, error) {
	a.entered <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (answering) PlanReload(context.Context) (*operation.ReloadReport, error) {
	return &operation.ReloadReport{Changes: []operation.ConfigChange{}}, nil
}

func (answering) Reload(context.Context) (*operation.ReloadReport, error) {
	return nil, errors.New("the disk said no")
}

// certify writes a certificate for penstock.test and 127.0.0.1, and its key. It returns
// who trusts it.
func certify(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"penstock.test", "*.inside.test"}, IPAddresses: []net.IP{{127, 0, 0, 1}}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}

// served is a server with TLS, and a client that trusts it.
type served struct {
	t       *testing.T
	server  *Server
	client  *http.Client
	pool    *x509.CertPool
	checks  []operation.Readiness
	entered chan struct{}
	stop    context.CancelFunc // of the host
}

// serve serves until the test ends.
func serve(t *testing.T) *served {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	x := &served{t: t, pool: certify(t, cert, key), checks: []operation.Readiness{{Check: "catalog", Ready: true}}, entered: make(chan struct{}, maxRequests)}
	var ctx context.Context
	ctx, x.stop = context.WithCancel(context.Background())
	began := time.Now()
	var looks atomic.Int64 // at the clock, by all requests
	var err error
	x.server, err = Open(ctx, Options{
		Address: "127.0.0.1:0", Cert: cert, Key: key, Token: testToken, Operations: answering{entered: x.entered},
		CodeOf: func(err error) operation.Code {
			if code, ok := operation.CodeOf(err); ok {
				return code
			}
			if errors.Is(err, context.Canceled) {
				return operation.Stopped
			}
			return operation.Failed
		},
		Metrics: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "penstock_up 1\n")
			return err
		},
		Ready: func(context.Context) []operation.Readiness { return x.checks },
		Now:   func() time.Time { return began.Add(time.Duration(looks.Add(1)) * readyKept) }, // no look is kept
		Log:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- x.server.Serve() }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x.pool}}
	x.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		x.stop()
		transport.CloseIdleConnections()
		if err := errors.Join(x.server.Close(context.Background()), <-ended); err != nil {
			t.Error(err)
		}
	})
	return x
}

// request is a request with the token and a body; header has further lines "Name: value",
// of which an empty value removes one.
func (x *served) request(method, path, body string, header ...string) *http.Request {
	x.t.Helper()
	r, err := http.NewRequest(method, "https://"+x.server.Address()+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		default:
			r.Header.Set(name, value)
		}
	}
	return r
}

// do returns the status and the body of an answer.
func (x *served) do(r *http.Request) (int, string) {
	x.t.Helper()
	response, err := x.client.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		x.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(body))
}

func TestRequests(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignored) })
	x := serve(t)
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		says                     string // a part of the answer
	}{
		{"status", "GET", "/api/v1/status", "", nil, 200, `"version":"1.2.3"`},
		{"no list is null", "GET", "/api/v1/status", "", nil, 200, `"projects":[]`},
		{"the document", "GET", "/api/v1/openapi.json", "", nil, 200, `"openapi": "3.1.0"`},
		{"a post with a body", "POST", "/api/v1/pipelines/events/run", `{"allow_shrink":true}`, nil, 200, `"name":"events"`},
		{"a post without one", "POST", "/api/v1/pipelines/events/run", "", nil, 200, `"error":"false"`},
		{"an error of an operation", "GET", "/api/v1/pipelines/evnts", "", nil, 404, `{"error":{"code":"unknown_pipeline","message":"no such pipeline: \"evnts\""}}`},
		{"an error without a code", "POST", "/api/v1/reload", "", nil, 500, `"code":"failed","message":"the disk said no"`},

		{"metrics", "GET", "/metrics", "", nil, 200, "penstock_up 1"},
		{"metrics without the token", "GET", "/metrics", "", []string{"Authorization: "}, 401, `"code":"unauthorized"`},
		{"no token", "GET", "/api/v1/status", "", []string{"Authorization: "}, 401, `"code":"unauthorized"`},
		{"another token", "GET", "/api/v1/status", "", []string{"Authorization: Bearer 0c5f1d-tokem"}, 401, `"code":"unauthorized"`},
		{"half a token", "GET", "/api/v1/status", "", []string{"Authorization: Bearer 0c5f1d"}, 401, `"code":"unauthorized"`},
		{"another scheme", "GET", "/api/v1/status", "", []string{"Authorization: Basic " + testToken}, 401, `"code":"unauthorized"`},
		{"paths are not told without the token", "GET", "/nothing", "", []string{"Authorization: "}, 401, `"code":"unauthorized"`},
		{"the document without the token", "GET", "/api/v1/openapi.json", "", []string{"Authorization: "}, 401, `"code":"unauthorized"`},

		{"localhost", "GET", "/api/v1/status", "", []string{"Host: localhost:1"}, 200, "1.2.3"},
		{"loopback of the other family", "GET", "/api/v1/status", "", []string{"Host: [::1]:1"}, 200, "1.2.3"},
		{"a name in the certificate", "GET", "/api/v1/status", "", []string{"Host: Penstock.test."}, 200, "1.2.3"},
		{"a name of its wildcard", "GET", "/api/v1/status", "", []string{"Host: a.inside.test:8090"}, 200, "1.2.3"},
		{"another host", "GET", "/api/v1/status", "", []string{"Host: evil.test"}, 421, `"code":"wrong_host"`},
		{"another address", "GET", "/api/v1/status", "", []string{"Host: 192.0.2.1:8090"}, 421, `"code":"wrong_host"`},
		{"a name that begins like one", "GET", "/api/v1/status", "", []string{"Host: localhost.evil.test"}, 421, `"code":"wrong_host"`},
		{"a health check of another host", "GET", "/healthz", "", []string{"Host: evil.test"}, 421, `"code":"wrong_host"`},

		{"its own page", "POST", "/api/v1/pipelines/events/run", "", []string{"Origin: https://" + x.server.Address()}, 200, "events"},
		{"a page of another site", "POST", "/api/v1/pipelines/events/run", "", []string{"Origin: https://evil.test"}, 403, `"code":"wrong_origin"`},
		{"a page of another port", "POST", "/api/v1/pipelines/events/run", "", []string{"Origin: http://127.0.0.1:3000"}, 403, `"code":"wrong_origin"`},
		{"a page without a site", "GET", "/api/v1/status", "", []string{"Origin: null"}, 403, `"code":"wrong_origin"`},
		{"a link on another site", "GET", "/api/v1/status", "", []string{"Sec-Fetch-Site: cross-site"}, 403, `"code":"wrong_origin"`},
		{"an address that was typed", "GET", "/api/v1/status", "", []string{"Sec-Fetch-Site: none"}, 200, "1.2.3"},

		{"another path", "GET", "/api/v1/nothing", "", nil, 404, `"code":"unknown_path"`},
		{"another method", "GET", "/api/v1/pipelines/events/run", "", nil, 405, `"code":"method_not_allowed"`},
		{"a change by PUT", "PUT", "/api/v1/pipelines/events/pause", "", nil, 405, `use POST`},
		{"a form", "POST", "/api/v1/pipelines/events/run", "allow_shrink=true", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, `"code":"unsupported_media_type"`},
		{"no JSON", "POST", "/api/v1/pipelines/events/run", "{", nil, 400, `"code":"invalid_parameter"`},
		{"two values", "POST", "/api/v1/pipelines/events/run", "{} {}", nil, 400, "more than one"},
		{"an unknown field", "POST", "/api/v1/pipelines/events/run", `{"allow_shrnk":true}`, nil, 400, `allow_shrnk`},
		{"a field of the path", "POST", "/api/v1/pipelines/events/run", `{"pipeline":"people"}`, nil, 400, `unknown field`},
		{"a query of a post", "POST", "/api/v1/pipelines/events/run?allow_shrink=true", "", nil, 400, `in its JSON body`},
		{"a large body", "POST", "/api/v1/pipelines/events/run", `{"a":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413, `"code":"too_large"`},
		{"a number of a run", "GET", "/api/v1/pipelines/events/runs/x", "", nil, 400, "number is"},
		{"an unknown parameter", "GET", "/api/v1/pipelines?limt=3", "", nil, 400, `there are: limit, cursor`},
		{"a parameter twice", "GET", "/api/v1/pipelines?limit=3&limit=4", "", nil, 400, `2 times`},
		{"a large limit", "GET", "/api/v1/pipelines?limit=1001", "", nil, 400, "at most 1000"},
		{"a negative limit", "GET", "/api/v1/pipelines?limit=-1", "", nil, 400, "must not be negative"},
		{"a cursor that was not given", "GET", "/api/v1/pipelines?cursor=!", "", nil, 400, `"code":"invalid_parameter"`},
		{"a cursor of another list", "GET", "/api/v1/pipelines/events/runs?cursor=YQ", "", nil, 400, `"code":"invalid_parameter"`},
		{"a drop of all records", "POST", "/api/v1/quarantine/drop", "", nil, 400, "picks all records"},
		{"a drop of all lost records", "POST", "/api/v1/quarantine/drop", `{"missing":true}`, nil, 400, "picks all records"},
		{"a backup without a path", "POST", "/api/v1/backup", "", nil, 400, "absolute path"},
		{"a backup to a relative path", "POST", "/api/v1/backup", `{"path":"b.tar"}`, nil, 400, "absolute path"},
		{"a time", "GET", "/api/v1/quarantine?before=yesterday", "", nil, 400, "before is"},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			status, body := x.do(x.request(tt.method, tt.path, tt.body, tt.header...))
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%d %s\nwant %d with %s", status, body, tt.status, tt.says)
			}
		})
	}
}

// Lists are cut into pages, which follow one another by their cursors.
func TestPages(t *testing.T) {
	t.Parallel()
	x := serve(t)
	for path, want := range map[string]string{
		"/api/v1/pipelines?limit=2":             "a b / c",
		"/api/v1/pipelines?limit=3":             "a b c",
		"/api/v1/pipelines/events/runs?limit=2": "5 4 / 3 2 / 1",
		"/api/v1/pipelines/events/runs?limit=5": "5 4 3 2 1",
		"/api/v1/pipelines/events/runs":         "5 4 3 2 1",
		"/api/v1/quarantine?limit=2":            "x y / z",
		"/api/v1/quarantine":                    "x y z",
	} {
		var pages []string
		for cursor, more := "", true; more; {
			next := path
			if cursor != "" {
				next += "&cursor=" + cursor
			}
			_, body := x.do(x.request("GET", next, ""))
			var page struct {
				Items, Records []struct {
					Name   string
					ID     string
					Number int
				}
				Next string
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatalf("%s: %v in %s", next, err, body)
			}
			var names []string
			for _, i := range append(page.Items, page.Records...) {
				name := i.Name + strings.ToLower(i.ID)
				if i.Number > 0 {
					name = fmt.Sprint(i.Number)
				}
				names = append(names, name)
			}
			pages = append(pages, strings.Join(names, " "))
			cursor, more = page.Next, page.Next != ""
		}
		if got := strings.Join(pages, " / "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Without the token, probes tell no names.
func TestProbes(t *testing.T) {
	t.Parallel()
	x := serve(t)
	probe := func(path string, header ...string) string {
		status, body := x.do(x.request("GET", path, "", header...))
		return fmt.Sprint(status, " ", body)
	}
	const anyone = "Authorization: "
	for _, tt := range []struct{ got, want string }{
		{probe("/healthz", anyone), `200 {"status":"ok"}`},
		{probe("/readyz", anyone), `200 {"status":"ok"}`},
		{probe("/readyz"), `200 {"status":"ok","checks":[{"check":"catalog","ready":true}]}`},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	x.checks = append(x.checks, operation.Readiness{Check: "journal shop", Reason: "no space left on device"})
	for _, tt := range []struct{ got, want string }{
		{probe("/healthz", anyone), `200 {"status":"ok"}`},
		{probe("/readyz", anyone), `503 {"status":"not ok"}`},
		{probe("/readyz", "Authorization: Bearer wrong"), `503 {"status":"not ok"}`},
		{probe("/readyz"), `503 {"status":"not ok","checks":[{"check":"catalog","ready":true},{"check":"journal shop","ready":false,"reason":"no space left on device"}]}`},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

// A wrong token is answered before the body has come, and a client that sends its body
// slowly keeps no other waiting.
func TestASlowClient(t *testing.T) {
	t.Parallel()
	x := serve(t)
	connect := func(token string) net.Conn {
		c, err := tls.Dial("tcp", x.server.Address(), &tls.Config{RootCAs: x.pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = fmt.Fprintf(c, "POST /api/v1/pipelines/events/run HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: 21\r\n\r\n{", token)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	response, err := http.ReadResponse(bufio.NewReader(connect("wrong")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized || !response.Close {
		t.Errorf("a wrong token: %s, connection closed: %v, %v", response.Status, response.Close, err)
	}
	slow := connect(testToken)
	if status, body := x.do(x.request("POST", "/api/v1/pipelines/events/run", "")); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if _, err := fmt.Fprint(slow, `"allow_shrink":true}`); err != nil {
		t.Fatal(err)
	}
	response, err = http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the slow client: %s, %v", response.Status, err)
	}
}

// Requests beyond the limit are refused at once, and the others end with their host.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	x := serve(t)
	ended := make(chan int, maxRequests)
	for range maxRequests {
		r := x.request("POST", "/api/v1/journal/verify", "")
		go func() {
			response, err := x.client.Do(r)
			if err != nil {
				ended <- 0
				return
			}
			_ = response.Body.Close()
			ended <- response.StatusCode
		}()
	}
	for range maxRequests {
		<-x.entered
	}
	if status, body := x.do(x.request("GET", "/api/v1/status", "")); status != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"busy"`) {
		t.Errorf("one more: %d %s", status, body)
	}
	if status, body := x.do(x.request("GET", "/readyz", "")); status != http.StatusOK {
		t.Errorf("a probe: %d %s", status, body)
	}
	x.stop()
	for range maxRequests {
		if status := <-ended; status != http.StatusServiceUnavailable {
			t.Errorf("ended with %d", status)
		}
	}
}

// A reload changes the token; the one before is refused from then on.
func TestReload(t *testing.T) {
	t.Parallel()
	x := serve(t)
	if err := x.server.Reload(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	if status, _ := x.do(x.request("GET", "/api/v1/status", "")); status != http.StatusUnauthorized {
		t.Errorf("the old token: %d", status)
	}
	if status, _ := x.do(x.request("GET", "/api/v1/status", "", "Authorization: bearer second")); status != http.StatusOK {
		t.Errorf("the new token: %d", status)
	}
	if _, err := Open(t.Context(), Options{Address: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "without a token") {
		t.Errorf("a port without a token: %v", err)
	}
}
