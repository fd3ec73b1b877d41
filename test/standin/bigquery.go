package standin

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/standin/gcptoken"
)

// BigQuery is a running stand-in for BigQuery (test/standin/bigqueryserver), which
// keeps its tables and jobs in memory. It demands a bearer of Tokens.
type BigQuery struct {
	// URL of the server. The base path of the REST interface is URL/bigquery/v2/.
	URL string
	// Project is the only one that exists, with billing.
	Project string
	// Tokens hands out the bearers.
	Tokens *gcptoken.Server

	t testing.TB
	p process
}

// BigQueryStatements names the directory where the servers leave the statements that
// they were given, for test/googlesql. Empty: they leave none.
const BigQueryStatements = "PENSTOCK_BIGQUERY_STATEMENTS"

// BigQueryOptions say how the stand-in is started.
type BigQueryOptions struct {
	// Storage is the address of a storage server, for loads from gs://; empty: none.
	Storage string
	// Tokens hands out the bearers; nil: a server of its own.
	Tokens *gcptoken.Server
}

// StartBigQuery starts a server without datasets. It is stopped when the test ends.
func StartBigQuery(t testing.TB, o BigQueryOptions) *BigQuery {
	t.Helper()
	path := Binary(t, "bigquery-standin")
	if o.Tokens == nil {
		o.Tokens = gcptoken.Start(t)
	}
	address := "127.0.0.1:" + freePort(t)
	b := &BigQuery{URL: "http://" + address, Project: "acme", Tokens: o.Tokens, t: t}
	args := []string{"-listen", address, "-projects", b.Project, "-tokeninfo", o.Tokens.URL + "/tokeninfo", "-storage", o.Storage}
	if dir := os.Getenv(BigQueryStatements); dir != "" {
		args = append(args, "-record", filepath.Join(dir, rand.Text()+".ndjson"))
	}
	b.p.env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it is killed, and leaves its files
	err := b.p.start(path, args...)
	t.Cleanup(b.p.stop)
	if err == nil {
		err = b.p.await(address)
	}
	if err != nil {
		t.Fatalf("start bigquery-standin: %v", err)
	}
	return b
}

// Stop kills the server, and with it all tables.
func (b *BigQuery) Stop() { b.p.stop() }

// Signal sends a signal to the server.
func (b *BigQuery) Signal(sig os.Signal) error { return b.p.signal(sig) }

// KeyFile returns the content of the key file of an account that may do everything
// until Grant restricts it.
func (b *BigQuery) KeyFile() string {
	b.t.Helper()
	key, err := b.Tokens.KeyFile()
	if err != nil {
		b.t.Fatal(err)
	}
	return key
}

// Quotas sets quotas by their names: metadata_updates_per_10s,
// partitioned_metadata_updates_per_10s, table_modifications_per_day,
// partition_modifications_per_day, mutating_dml_queued.
func (b *BigQuery) Quotas(quotas map[string]int) { b.t.Helper(); b.control("quotas", quotas) }

// Billing sets whether the project has billing. Without, it is a sandbox.
func (b *BigQuery) Billing(enabled bool) {
	b.t.Helper()
	b.control("billing", map[string]bool{"enabled": enabled})
}

// API enables or disables an API of the project, such as bigquery.googleapis.com.
func (b *BigQuery) API(name string, enabled bool) {
	b.t.Helper()
	b.control("api", map[string]any{"name": name, "enabled": enabled})
}

// Grant sets the roles of an account on a resource: a project, or project:dataset.
// From the first call on, an account has only the roles that it was granted.
func (b *BigQuery) Grant(account, resource string, roles ...string) {
	b.t.Helper()
	b.control("iam", map[string]any{"account": account, "resource": resource, "roles": roles})
}

// Advance moves the server's clock forward.
func (b *BigQuery) Advance(d time.Duration) {
	b.t.Helper()
	b.control("clock", map[string]string{"advance": d.String()})
}

// BigQueryPoint is a place in the work of the server.
type BigQueryPoint struct {
	// Statement is a regular expression that a statement's text matches; empty: the
	// place is the job as a whole.
	Statement string `json:"statement,omitempty"`
	// Job is a regular expression that the job's id matches.
	Job string `json:"job,omitempty"`
	// Nth is the first match that counts, from 1; 0: 1.
	Nth int `json:"nth,omitempty"`
	// Times is the number of matches that count; 0: 1, -1: all.
	Times int `json:"times,omitempty"`
	// At is before the work (default) or after it.
	At string `json:"at,omitempty"`
}

// Fail ends a job or statement with an error. After its work a statement of a
// transaction is rolled back, another one stays done.
func (b *BigQuery) Fail(p BigQueryPoint, reason, message string) {
	b.t.Helper()
	b.control("fail", struct {
		BigQueryPoint
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}{p, reason, message})
}

// BigQueryHold keeps a job running at a point.
type BigQueryHold struct {
	b  *BigQuery
	id string
}

// Hold makes the job that comes to a point wait there.
func (b *BigQuery) Hold(p BigQueryPoint) *BigQueryHold {
	b.t.Helper()
	var answer struct{ ID string }
	if err := json.Unmarshal(b.control("hold", p), &answer); err != nil {
		b.t.Fatal(err)
	}
	return &BigQueryHold{b, answer.ID}
}

// Reached returns when a job waits.
func (h *BigQueryHold) Reached() {
	h.b.t.Helper()
	h.b.request(http.MethodGet, "hold/"+h.id+"/reached", nil)
}

// Release lets the job go on.
func (h *BigQueryHold) Release() { h.b.t.Helper(); h.b.control("hold/"+h.id+"/release", nil) }

// BigQueryStatement is one statement that the server has run.
type BigQueryStatement struct{ Job, Type, Text, Reason, Error string }

// Statements returns the statements so far, those of scripts one by one.
func (b *BigQuery) Statements() (list []BigQueryStatement) {
	b.t.Helper()
	if err := json.Unmarshal(b.request(http.MethodGet, "statements", nil), &list); err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *BigQuery) control(path string, v any) []byte {
	b.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.request(http.MethodPost, path, body)
}

func (b *BigQuery) request(method, path string, body []byte) []byte {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+"/_standin/"+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, strings.TrimSpace(string(text)))
	}
	return text
}
