package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// apiBlock is for the host block.
const apiBlock = `
  api {
    listen   = "127.0.0.1:0"
    token    = file("./api.token")
    tls_cert = "./cert.pem"
    tls_key  = "./key.pem"
  }
}
project "shop" {`

// port is the API of a host that serves.
type port struct {
	*collecting
	h       *penstocktest.Host
	address string
	token   string
	client  *http.Client
}

var apiListens = regexp.MustCompile(`msg="the API listens" .*listen=(\S+)`)

// newPort returns a site with a collector and the API.
func newPort(t *testing.T) *port {
	t.Helper()
	p := &port{collecting: newCollecting(t), token: "token-one"}
	p.trust(p.certificate())
	p.Write("api.token", p.token+"\n")
	p.edit("}\nproject \"shop\" {", apiBlock)
	return p
}

// trust makes a client that trusts a certificate.
func (p *port) trust(pool *x509.CertPool) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	p.t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport}
}

// begin starts the host, whose collector listens then.
func (p *port) begin() {
	p.t.Helper()
	p.h = p.serve()
	p.find()
}

// find waits until the API listens.
func (p *port) find() {
	p.t.Helper()
	p.h.Until("the API listens", func() bool {
		found := apiListens.FindStringSubmatch(p.h.Said())
		if found != nil {
			p.address = found[1]
		}
		return found != nil
	})
}

// ask returns the status and the body of an answer.
func (p *port) ask(method, path, body string) (int, []byte) {
	p.t.Helper()
	r, err := http.NewRequest(method, "https://"+p.address+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, answer
}

// document is the part of an OpenAPI document that the test uses.
type document struct {
	Paths      map[string]map[string]documented
	Components struct {
		Schemas   map[string]map[string]any
		Responses map[string]response
	}
}

type documented struct {
	OperationID string `json:"operationId"`
	Responses   map[string]response
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema map[string]any }
}

// operation returns the method and the path of an operation.
func (d *document) operation(id string) (method, path string, o documented) {
	for path, methods := range d.Paths {
		for method, o := range methods {
			if o.OperationID == id {
				return strings.ToUpper(method), path, o
			}
		}
	}
	return "", "", documented{}
}

// mistakes compares an answer with the schema of its status.
func (d *document) mistakes(o documented, status int, body []byte) []string {
	r, ok := o.Responses[fmt.Sprint(status)]
	if !ok {
		r = o.Responses["default"]
	}
	if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
		r = d.Components.Responses[name]
	}
	if _, ok := r.Content["text/plain"]; ok {
		return nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []string{err.Error()}
	}
	return d.compare("answer", r.Content["application/json"].Schema, v)
}

// compare returns the places at which a value is not as its schema says. A field that the
// schema does not have is one of them.
func (d *document) compare(at string, s map[string]any, v any) (wrong []string) {
	if ref, ok := s["$ref"].(string); ok {
		s = d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	if s == nil {
		return []string{at + " has no schema"}
	}
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	if !slices.Contains(types, any(typeOf(v, slices.Contains(types, any("integer"))))) {
		return []string{fmt.Sprintf("%s is %v, and should be of type %v", at, v, types)}
	}
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			wrong = append(wrong, d.compare(fmt.Sprintf("%s[%d]", at, i), s["items"].(map[string]any), x)...)
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, x := range v {
			inner, ok := properties[name].(map[string]any)
			if !ok {
				inner, _ = s["additionalProperties"].(map[string]any)
			}
			if properties == nil && inner == nil {
				continue // any object
			}
			wrong = append(wrong, d.compare(at+"."+name, inner, x)...)
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s has no %s", at, name))
			}
		}
	}
	return wrong
}

// typeOf is the type of a JSON value, as schemas name it.
func typeOf(v any, integer bool) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if integer && v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

var inBraces = regexp.MustCompile(`\{\w+\}`)

// brokenPipeline cannot write: its directory is a file.
const brokenPipeline = `
destination "localfs" "broken" {
  path = "./broken"
}
destination "localfs" "extra" {
  path = "./extra"
}
`

// Each operation of the OpenAPI document is answered by a host as the document says.
func TestEachOperationOfTheAPI(t *testing.T) {
	t.Parallel()
	p := newPort(t)
	p.Write("broken", "")
	p.Append("penstock.hcl", brokenPipeline+p.pipeline("broken", "localfs.broken")+p.pipeline("extra", "localfs.extra"))
	p.events("a.ndjson", 0, 3, 30)
	p.Append("events/a.ndjson", "{\"event\":1}\n")
	p.begin()
	p.h.Until("two pipelines have run, and one has failed", func() bool {
		said := p.h.Said()
		return strings.Contains(said, `msg="run succeeded" pipeline=events_out`) && strings.Contains(said, `msg="run succeeded" pipeline=extra`) &&
			strings.Contains(said, `msg="pipeline failed, and waits for a person`)
	})
	var d document
	if status, body := p.ask("GET", "/api/v1/openapi.json", ""); status != http.StatusOK || json.Unmarshal(body, &d) != nil {
		t.Fatalf("%d %s", status, body)
	}
	tried := map[string]bool{"getOpenAPI": true}
	for _, c := range []struct {
		id, path, body string // path replaces the names in braces, and may have a query
		status         int
		says           string
	}{
		{"getHealth", "", "", 200, `"ok"`},
		{"getReadiness", "", "", 200, `{"check":"source collector.web","ready":true}`},
		{"getMetrics", "", "", 200, `penstock_runs_total{pipeline="broken",result="failed"} 1`},
		{"getMetrics", "", "", 200, `penstock_runs_total{pipeline="events_out",result="succeeded"} 1`},
		{"getMetrics", "", "", 200, `penstock_source_records_total{outcome="accepted",source="files.import"} 30`},
		{"getMetrics", "", "", 200, `penstock_source_records_total{outcome="refused",source="files.import"} 1`},
		{"getMetrics", "", "", 200, `penstock_pipeline_lag_seconds{pipeline="events_out"} 0`},
		{"getStatus", "", "", 200, `"name":"files.import"`},
		{"getPlan", "", "", 200, `"pipeline":"broken"`},
		{"listSources", "", "", 200, `"name":"collector.web"`},
		{"checkSource", "mixpanel.none", "{}", 404, `"unknown_source"`},
		{"pullSource", "mixpanel.none", `{"from":"2026-01-01"}`, 404, `"unknown_source"`},
		{"listPipelines", "?limit=2", "", 200, `"next":`},
		{"getPipeline", "broken", "", 200, `"state":"failed"`},
		{"getPipeline", "none", "", 404, `"unknown_pipeline"`},
		{"pausePipeline", "events_out", "", 200, `"changed":true`},
		{"pausePipeline", "events_out", "", 200, `"changed":false`},
		{"resumePipeline", "events_out", "", 200, `"paused":false`},
		{"runPipeline", "events_out", "{}", 200, `"name":"events_out"`},
		{"runPipeline", "none", "{}", 404, `"unknown_pipeline"`},
		{"recoverPipeline", "events_out", "", 200, `"differs":false`},
		{"verifyPipeline", "events_out", `{"deep":true}`, 200, `"differences":[]`},
		{"verifyPipeline", "events_out", `{"from":"today"}`, 400, `"invalid_parameter"`},
		{"listRuns", "", "", 200, `"state":"failed"`},
		{"listPipelineRuns", "events_out?limit=1", "", 200, `"number":`},
		{"getRun", "broken 1", "", 200, `"error_class":"configuration"`},
		{"getRun", "events_out 999", "", 404, `"unknown_run"`},
		{"retryRun", "events_out 1", "", 409, `"conflict"`},
		{"retryRun", "broken 1", "", 200, `"pipeline":"broken"`},
		{"listDestinations", "?limit=2", "", 200, `"pipelines":[{"name":`},
		{"checkDestinations", "", `{"destination":"localfs.extra"}`, 200, `"ok":true`},
		{"checkDestinations", "", `{"destination":"s3.none"}`, 404, `"unknown_destination"`},
		{"listSegments", "?limit=1", "", 200, `"blob":`},
		{"listJournalStats", "", "", 200, `"kind":"events"`},
		{"verifyJournal", "", "", 200, `"corruptions":[]`},
		{"listQuarantine", "?limit=1", "", 200, `"source":"files.import"`},
		{"replayQuarantine", "", `{"source":"files.import"}`, 200, `"refused":1`},
		{"dropQuarantine", "", `{"source":"files.import"}`, 200, `"records":1`},
		{"listIdentityFailures", "?project=shop", "", 200, `"failures":[]`},
		{"listIdentityFailures", "?project=none", "", 404, `"unknown_project"`},
		{"cancelPipeline", "extra", "", 200, `"changed":true`},
		{"forgetPipeline", "extra", "", 409, `"conflict"`},
		{"backup", "", fmt.Sprintf(`{"path":%q}`, filepath.Join(p.Dir, "b.tar")), 200, `"parts":[`},
		{"backup", "", fmt.Sprintf(`{"path":%q}`, filepath.Join(p.Dir, "b.tar")), 409, `"conflict"`},
		{"planReload", "", "", 200, `"changes":[]`},
		{"reload", "", "", 200, `"changes":[]`},
	} {
		tried[c.id] = true
		method, path, o := d.operation(c.id)
		if path == "" {
			t.Errorf("the document has no operation %s", c.id)
			continue
		}
		rest, query, _ := strings.Cut(c.path, "?")
		for _, value := range strings.Fields(rest) {
			path = strings.Replace(path, inBraces.FindString(path), value, 1)
		}
		if query != "" {
			path += "?" + query
		}
		status, body := p.ask(method, path, c.body)
		if status != c.status || !bytes.Contains(body, []byte(c.says)) {
			t.Errorf("%s %s %s: %d %s\nwant %d with %s", method, path, c.body, status, body, c.status, c.says)
		}
		for _, wrong := range d.mistakes(o, status, body) {
			t.Errorf("%s %s: %s", method, path, wrong)
		}
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			if !tried[o.OperationID] {
				t.Errorf("%s %s is not tried", method, path)
			}
		}
	}
	p.runExamples()
	p.Says(p.Penstock(nil, "quarantine", "list"), 0) // the socket is served, too
	if status := p.h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Errorf("it ended with %v:\n%s", status, p.h.Said())
	}
}

// runExamples runs the commands of the page for operators that begin with curl.
func (p *port) runExamples() {
	p.t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		p.t.Skip("SKIPPED: the examples of the API need curl")
	}
	examples := regexp.MustCompile(`(?m)^    (curl .*?[^\\])(?:  +#.*)?$`).FindAllStringSubmatch(string(page), -1)
	if len(examples) < 5 {
		p.t.Errorf("the page has %d examples", len(examples))
	}
	for _, e := range examples {
		command := exec.Command("sh", "-c", e[1])
		command.Dir = p.Dir
		command.Env = append(os.Environ(), "API=https://"+p.address, "TOKEN="+p.token, "CURL_CA_BUNDLE="+filepath.Join(p.Dir, "cert.pem"))
		if out, err := command.CombinedOutput(); err != nil {
			p.t.Errorf("%s: %v\n%s", e[1], err, out)
		}
	}
}

// While the disk of the journal is full, the host is alive and not ready, and says why to
// clients with the token.
func TestReadinessOfAFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	p := newPort(t)
	fill(p.site)
	resize := p.smallDisk("data", "600k")
	p.h = p.Serve()
	p.find()
	is := func(path string, status int, says string) func() bool {
		return func() bool {
			got, body := p.ask("GET", path, "")
			return got == status && bytes.Contains(body, []byte(says))
		}
	}
	p.h.Until("the host is not ready", is("/readyz", http.StatusServiceUnavailable, `{"check":"journal shop","ready":false,"reason":`))
	if !is("/healthz", http.StatusOK, `"ok"`)() || !is("/metrics", http.StatusOK, `penstock_ready{check="journal shop"} 0`)() {
		t.Error("the host is not alive, or its metrics do not say so")
	}
	known := p.token
	p.token = "another"
	if _, body := p.ask("GET", "/readyz", ""); bytes.Contains(body, []byte("journal")) || !bytes.Contains(body, []byte(`{"status":"not ok"}`)) {
		t.Errorf("without the token: %s", body)
	}
	p.token = known
	resize("64m")
	p.h.Until("the host is ready", is("/readyz", http.StatusOK, `{"check":"journal shop","ready":true}`))
	p.h.Stop(syscall.SIGTERM)
}

// A reload takes the token and the certificate again, while connections stay open.
func TestTheTokenAndTheCertificateAreReloaded(t *testing.T) {
	t.Parallel()
	p := newPort(t)
	p.begin()
	serial := func() string {
		c, err := tls.Dial("tcp", p.address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is looked at
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return fmt.Sprintf("%x", c.ConnectionState().PeerCertificates[0].Signature)
	}
	if status, body := p.ask("GET", "/api/v1/status", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	before := serial()
	p.trust(p.certificate())
	p.Write("api.token", "token-two")
	// The file is as old as the one before: only a reload reads it.
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Chtimes(filepath.Join(p.Dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	r := p.Penstock(nil, "reload")
	p.Says(r, 0, "api: token changed")
	if said := r.Out + r.Err + p.h.Said(); strings.Contains(said, "token-one") || strings.Contains(said, "token-two") {
		t.Error("a token is said")
	}
	if serial() == before {
		t.Error("the certificate is the one before")
	}
	if status, _ := p.ask("GET", "/api/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("the old token: %d", status)
	}
	if p.token = "token-two"; true {
		if status, body := p.ask("GET", "/api/v1/status", ""); status != http.StatusOK {
			t.Errorf("the new token: %d %s", status, body)
		}
	}
	// A listener that goes away needs a restart, and keeps its token.
	p.edit(`listen   = "127.0.0.1:0"`, `listen   = "127.0.0.1:1"`)
	p.Says(p.Penstock(nil, "reload"), 0, "api: listen changed", "(needs a restart of the host)")
	if status, _ := p.ask("GET", "/api/v1/status", ""); status != http.StatusOK {
		t.Errorf("after a change of the address: %d", status)
	}
}
