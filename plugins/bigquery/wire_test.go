package bigquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// wire is a service that answers as a test says.
type wire struct {
	*service
	mu       sync.Mutex
	requests []string // method and path
}

// newWire starts a server whose answers are those of handle; it is called with the
// number of the request for its path, from 1.
func newWire(t *testing.T, handle func(n int, r *http.Request) (status int, body any)) *wire {
	t.Helper()
	w := &wire{}
	seen := map[string]int{}
	listening := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		key := r.Method + " " + r.URL.Path
		seen[key]++
		n := seen[key]
		w.requests = append(w.requests, key+"?"+r.URL.RawQuery)
		w.mu.Unlock()
		status, body := handle(n, r)
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(body)
	}))
	t.Cleanup(listening.Close)
	w.service = newService(config{Project: "acme", Dataset: "d", Endpoint: listening.URL}, nil)
	w.location, w.scope = region, "s"
	w.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return w
}

func apiError(status int, reason, message string) (int, any) {
	return status, map[string]any{"error": map[string]any{
		"code": status, "message": message, "errors": []any{map[string]any{"reason": reason, "message": message, "domain": "global"}},
	}}
}

func jobState(state, reason, message string) (int, any) {
	status := map[string]any{"state": state}
	if reason != "" {
		status["errorResult"] = map[string]any{"reason": reason, "message": message}
	}
	return http.StatusOK, map[string]any{
		"jobReference": map[string]any{"projectId": "acme", "jobId": "j_t1", "location": region}, "status": status,
		"configuration": map[string]any{"query": map[string]any{"query": "SELECT 1"}}, "statistics": map[string]any{},
	}
}

func (w *wire) script1(ctx context.Context) error {
	_, err := w.run(ctx, "j", scriptLimit, statement{text: "SELECT 1"})
	return w.classify("run", err)
}

// B5: a job that is done with an error has ended, whatever the reason. It is tried by
// new ids for a bounded number of times, and the error is for the host to retry.
func TestAJobThatFailsHasEnded(t *testing.T) {
	w := newWire(t, func(_ int, r *http.Request) (int, any) {
		if r.Method == http.MethodPost {
			return jobState("PENDING", "", "")
		}
		return jobState("DONE", "internalError", "An internal error occurred and the request could not be completed.")
	})
	err := w.script1(t.Context())
	if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(fmt.Sprint(err), "internal error occurred") {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	if len(w.requests) != 2*maxJobTries {
		t.Errorf("%d requests: %q", len(w.requests), w.requests)
	}
	for i := range maxJobTries {
		if want := fmt.Sprintf("GET /bigquery/v2/projects/acme/jobs/s_j_t%d?", i+1); !strings.HasPrefix(w.requests[2*i+1], want) || !strings.Contains(w.requests[2*i+1], "location="+region) {
			t.Errorf("request %s, want %s with the location", w.requests[2*i+1], want)
		}
	}
}

// A script that was refused has used no id: Status asks for the ids one after another,
// and finds the one that runs.
func TestARefusedScriptUsesNoID(t *testing.T) {
	state := "RUNNING"
	w := newWire(t, func(n int, r *http.Request) (int, any) {
		switch {
		case r.Method == http.MethodPost && n == 1:
			return apiError(http.StatusBadRequest, "invalidQuery", "Transaction is aborted due to concurrent update against table acme:d.t. Transaction ID: x")
		case r.Method == http.MethodPost:
			return jobState("RUNNING", "", "")
		case !strings.HasSuffix(r.URL.Path, "/s_j_t1"):
			return apiError(http.StatusNotFound, "notFound", "Not found: Job")
		}
		return jobState(state, "", "")
	})
	if err := w.script1(t.Context()); protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("a script that runs on: %v", err)
	}
	if running, err := w.unfinished(t.Context(), "j"); err != nil || !running {
		t.Errorf("the script runs, and unfinished says %v, %v", running, err)
	}
	state = "DONE"
	if err := w.script1(t.Context()); err != nil {
		t.Error(err)
	}
}

// A job that fails for good is not tried again.
func TestAJobThatFailsForGood(t *testing.T) {
	w := newWire(t, func(_ int, r *http.Request) (int, any) {
		return jobState("DONE", "invalidQuery", "Syntax error: Unexpected identifier")
	})
	if err := w.script1(t.Context()); protocol.ClassOf(err) != protocol.Permanent || len(w.requests) != 2 {
		t.Errorf("class %v of %v, %d requests", protocol.ClassOf(err), err, len(w.requests))
	}
}

// Goroutines that have turns ask for one job until it has ended, and then for the next one. One whose attempt
// ends does not wait for its turn.
func TestTurns(t *testing.T) {
	w := newWire(t, func(n int, _ *http.Request) (int, any) {
		if n < 5 {
			return jobState("RUNNING", "", "")
		}
		return jobState("DONE", "", "")
	})
	turns := newTurn()
	var asking sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			if j, err := w.endInTurn(t.Context(), turns, fmt.Sprintf("j%d", i)); err != nil || !isDone(j) {
				t.Errorf("job %d: %v", i, err)
			}
		})
	}
	asking.Wait()
	if len(w.requests) != 4*5 {
		t.Errorf("%d requests, want 20", len(w.requests))
	}
	for i, r := range w.requests {
		if r != w.requests[i/5*5] {
			t.Errorf("request %d, %s, is made while the job of %s runs", i, r, w.requests[i/5*5])
		}
	}
	turns <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.endInTurn(ctx, turns, "j9"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

// B6: a query that fails at its submission has failed, also while the service refuses to give results: a client
// that asked for them would wait until the refusals end.
func TestAQueryThatFailsAtOnce(t *testing.T) {
	w := newWire(t, func(_ int, r *http.Request) (int, any) {
		if strings.Contains(r.URL.Path, "/queries") {
			return apiError(http.StatusForbidden, "rateLimitExceeded", "Exceeded rate limits")
		}
		return jobState("DONE", "invalidQuery", "Syntax error: Unexpected identifier")
	})
	_, err := w.query(t.Context(), "j", statement{text: "SELECT 1"}, func([]cloud.Value) error { return nil })
	var f *jobFailure
	if !errors.As(err, &f) || f.reason != "invalidQuery" {
		t.Errorf("%v, want the job's own failure", err)
	}
	if len(w.requests) != 2 || strings.Contains(strings.Join(w.requests, "\n"), "/queries") {
		t.Errorf("requests %q, want one for the job and one for its state", w.requests)
	}
}

// B16: a refusal of the question for a job's state does not make the job fail.
func TestARefusedQuestionIsAskedAgain(t *testing.T) {
	w := newWire(t, func(n int, r *http.Request) (int, any) {
		switch {
		case r.Method == http.MethodPost:
			return jobState("RUNNING", "", "")
		case n <= 2:
			return apiError(http.StatusTooManyRequests, "rateLimitExceeded", "Exceeded rate limits")
		}
		return jobState("DONE", "", "")
	})
	if err := w.script1(t.Context()); err != nil {
		t.Error(err)
	}
}

// B14: changes of metadata that come too fast are absorbed with pauses, and a table
// that needs no change is not changed.
func TestMetadataThatIsChangedTooFast(t *testing.T) {
	w := newWire(t, func(n int, r *http.Request) (int, any) {
		if r.Method == http.MethodPatch && n <= 2 {
			return apiError(http.StatusForbidden, "rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table. For more information, see …")
		}
		return http.StatusOK, map[string]any{"tableReference": map[string]any{"tableId": "t"}, "etag": "e"}
	})
	if _, err := w.patch(t.Context(), "t", labelled(map[string]string{"a": "b"}), ""); err != nil {
		t.Error(err)
	}
	before := len(w.requests)
	if _, err := w.ensureTable(t.Context(), "t", w.table(nil, "")); err != nil || len(w.requests) != before+1 {
		t.Errorf("%v, requests %q", err, w.requests[before:])
	}
}

// Defaults of the dataset that would delete rows are taken off a new table.
func TestExpirationsAreTakenOff(t *testing.T) {
	var change map[string]any
	w := newWire(t, func(n int, r *http.Request) (int, any) {
		table := map[string]any{"tableReference": map[string]any{"tableId": "t"}, "expirationTime": "1900000000000", "timePartitioning": map[string]any{"type": "DAY", "expirationMs": "86400000"}}
		switch {
		case r.Method == http.MethodGet && n == 1:
			return apiError(http.StatusNotFound, "notFound", "Not found: Table acme:d.t")
		case r.Method == http.MethodPatch:
			if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
				t.Error(err)
			}
		}
		return http.StatusOK, table
	})
	if _, err := w.ensureTable(t.Context(), "t", w.table(nil, "")); err != nil {
		t.Fatal(err)
	}
	partitioning, _ := change["timePartitioning"].(map[string]any)
	for _, c := range []struct {
		in   map[string]any
		name string
	}{{change, "expirationTime"}, {partitioning, "expirationMs"}} {
		if v, found := c.in[c.name]; !found || v != nil {
			t.Errorf("%s is not removed: %v", c.name, change)
		}
	}
}

// A service that never answers holds a call no longer than its context.
func TestAServiceThatNeverAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWire(t, func(_ int, r *http.Request) (int, any) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices that the client has gone only behind the body
		cancel()
		<-r.Context().Done()
		return http.StatusOK, nil
	})
	if err := w.script1(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

// A job that outlives its limit leaves the run in doubt, and is not begun again.
func TestAJobThatTakesTooLong(t *testing.T) {
	w := newWire(t, func(_ int, r *http.Request) (int, any) { return jobState("RUNNING", "", "") })
	err := w.script1(t.Context())
	var unfinished errUnfinished
	if protocol.ClassOf(err) != protocol.Retryable || !errors.As(err, &unfinished) {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	posts := 0
	for _, r := range w.requests {
		if strings.HasPrefix(r, "POST") {
			posts++
		}
	}
	if posts != 1 {
		t.Errorf("%d jobs were begun", posts)
	}
	if running, err := w.unfinished(t.Context(), "j"); err != nil || !running {
		t.Errorf("unfinished: %v, %v", running, err)
	}
}
