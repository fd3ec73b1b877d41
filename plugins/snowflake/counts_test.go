package snowflake

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// lyingService changes the answers to COPY on their way.
type lyingService struct {
	http.RoundTripper
	change func(data map[string]any)
	lies   int
}

func (l *lyingService) attach(d *destination) {
	l.RoundTripper = d.connector.transport
	d.connector.transport = l
}

func (l *lyingService) RoundTrip(r *http.Request) (*http.Response, error) {
	isCopy := false
	if r.Body != nil && strings.Contains(r.URL.Path, "/query-request") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		isCopy = strings.Contains(string(plainBody(body)), `"sqlText":"COPY INTO`)
	}
	answer, err := l.RoundTripper.RoundTrip(r)
	if err != nil || !isCopy {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(plainBody(body)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	l.change(v["data"].(map[string]any))
	l.lies++
	if body, err = json.Marshal(v); err != nil {
		return nil, err
	}
	answer.Header.Del("Content-Encoding")
	answer.Header.Del("Content-Length")
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}

// plainBody returns a body that may be compressed.
func plainBody(body []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return body
	}
	return plain
}

// S1, S3: COPY succeeds, and its answer says that it has loaded fewer rows than the file
// has, or no file. The transaction is rolled back, and no row of the run is seen.
func TestTheCountsOfCopyAreCompared(t *testing.T) {
	w := startWarehouse(t)
	c := events("one", "2026-06-01")
	column := func(data map[string]any, name string) int {
		for i, col := range data["rowtype"].([]any) {
			if col.(map[string]any)["name"] == name {
				return i
			}
		}
		t.Fatalf("COPY answers no column %s", name)
		return -1
	}
	for name, change := range map[string]func(map[string]any){
		"a row less was loaded": func(data map[string]any) {
			data["rowset"].([]any)[0].([]any)[column(data, "rows_loaded")] = "4"
		},
		"a row less was parsed": func(data map[string]any) {
			data["rowset"].([]any)[0].([]any)[column(data, "rows_parsed")] = "4"
		},
		"no file was loaded": func(data map[string]any) {
			status := column(data, "status")
			data["rowtype"] = []any{data["rowtype"].([]any)[status]}
			data["rowset"] = []any{[]any{"Copy executed with 0 files processed."}}
			data["total"], data["returned"] = 1, 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := w.config()
			liar := &lyingService{change: change}
			d := openAt(t, config, liar.attach)
			run := testRun(sdk.Events, 1, 1)
			receipt, err := export(t.Context(), d, run, c)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := w.Statements()
			if err := d.Commit(t.Context(), run, receipt); protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "COPY") || liar.lies != 1 {
				t.Errorf("after %d changed answers: %v", liar.lies, err)
			}
			after, _ := w.Statements()
			ended := ""
			for _, s := range after[len(before):] {
				switch s.Text {
				case "COMMIT", "ROLLBACK":
					ended += s.Text
				}
			}
			if ended != "ROLLBACK" {
				t.Errorf("the transaction ends with %q", ended)
			}
			w.expect(t, config, sdk.Events, nil)
		})
	}
}
