package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// query is one statement on its way. Its id is the statement's.
type query struct {
	id, request string
	session     *session
	text        string
	body        queryBody
	started     time.Time
	done        chan struct{}
	cancel      context.CancelFunc

	mu     sync.Mutex
	ended  time.Time
	result *result
	err    *snowsql.Error
}

// queryBody is the body of query-request.
type queryBody struct {
	SQLText      string                  `json:"sqlText"`
	AsyncExec    bool                    `json:"asyncExec"`
	DescribeOnly bool                    `json:"describeOnly"`
	Parameters   map[string]any          `json:"parameters"`
	Bindings     map[string]queryBinding `json:"bindings"`
	BindStage    string                  `json:"bindStage"`
}

type queryBinding struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// queries are those that the server has answered or runs.
type queries struct {
	mu        sync.Mutex
	byID      map[string]*query
	byRequest map[string]*query
}

// patience is how long a request waits for its statement before the answer is that it
// runs still (https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses).
const patience = 45 * time.Second

// queryRequest runs a statement. A request whose id was used is answered with the
// statement of the first, which is not run again: the driver repeats requests with their
// ids.
func (srv *Server) queryRequest(w http.ResponseWriter, r *http.Request, s *session) {
	var body queryBody
	if err := decode(r, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q, fresh := srv.queries.of(r.URL.Query().Get("requestId"), s, body, srv.now())
	if fresh {
		srv.start(q)
	}
	if body.AsyncExec {
		srv.inProgress(w, q, "333334", "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.")
		return
	}
	srv.await(w, r, q)
}

// of finds the query of a request or makes it.
func (qs *queries) of(request string, s *session, body queryBody, now time.Time) (*query, bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.byRequest[request]; q != nil && q.session == s && request != "" {
		return q, false
	}
	q := &query{id: "01" + newUUID()[2:], request: request, session: s, text: body.SQLText, body: body, started: now, done: make(chan struct{})}
	qs.byID[q.id], qs.byRequest[request] = q, q
	return q, true
}

func (qs *queries) find(id string) *query {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.byID[id]
}

// start runs a query. It goes on when its request ends: only abort-request, a time-out
// and the end of the server stop it.
func (srv *Server) start(q *query) {
	ctx, cancel := context.WithCancel(srv.ended)
	q.cancel = cancel
	srv.running.Add(1)
	go func() {
		defer srv.running.Done()
		defer cancel()
		r, err := srv.run(ctx, q)
		q.mu.Lock()
		q.result, q.ended = r, srv.now()
		if err != nil {
			q.err = refusal(err)
		}
		q.mu.Unlock()
		srv.recorder.statement(q)
		close(q.done)
	}()
}

func (srv *Server) await(w http.ResponseWriter, r *http.Request, q *query) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-q.done:
		srv.writeResult(w, q)
	case <-timer.C:
		srv.inProgress(w, q, "333333", "Query execution in progress.")
	case <-r.Context().Done():
	}
}

func (srv *Server) inProgress(w http.ResponseWriter, q *query, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(envelope{Data: map[string]any{"queryId": q.id, "getResultUrl": "/queries/" + q.id + "/result", "queryAbortsAfterSecs": 300}, Code: &code, Message: &message, Success: true})
}

func (srv *Server) queryResult(w http.ResponseWriter, r *http.Request, s *session) {
	q := srv.queries.find(r.PathValue("id"))
	if q == nil || q.session.state().user != s.state().user {
		refuseRequest(w, "000709", "Statement "+r.PathValue("id")+" not found")
		return
	}
	srv.await(w, r, q)
}

// abortRequest cancels a statement
// (https://docs.snowflake.com/en/user-guide/querying-cancel-statements).
func (srv *Server) abortRequest(w http.ResponseWriter, r *http.Request, s *session) {
	var body struct {
		RequestID string `json:"requestId"`
	}
	if err := decode(r, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	srv.queries.mu.Lock()
	q := srv.queries.byRequest[body.RequestID]
	srv.queries.mu.Unlock()
	if q == nil || q.session != s {
		refuseRequest(w, "000605", "Identified SQL statement is not currently executing.")
		return
	}
	select {
	case <-q.done:
		refuseRequest(w, "000605", "Identified SQL statement is not currently executing.")
	default:
		q.cancel()
		<-q.done
		answer(w, nil)
	}
}

func (srv *Server) monitorQuery(w http.ResponseWriter, r *http.Request, _ *session) {
	q := srv.queries.find(r.PathValue("id"))
	if q == nil {
		answer(w, map[string]any{"queries": []any{}})
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	one := map[string]any{"id": q.id, "sqlText": q.text, "startTime": q.started.UnixMilli(), "status": "RUNNING", "sessionId": q.session.id, "stats": map[string]any{}}
	select {
	case <-q.done:
		one["endTime"], one["status"] = q.ended.UnixMilli(), "SUCCESS"
		if q.err != nil {
			one["status"], one["errorCode"], one["errorMessage"] = "FAILED_WITH_ERROR", code(q.err), q.err.Message
		}
	default:
	}
	answer(w, map[string]any{"queries": []any{one}})
}
