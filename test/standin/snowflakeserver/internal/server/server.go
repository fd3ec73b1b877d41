package server

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a Server is started.
type Options struct {
	// Account is the name of the account.
	Account string
	// Temp is a directory for DuckDB and for files that are loaded.
	Temp string
	// Storage is that of internal stages; without an endpoint there are none.
	Storage Storage
	// Record is a file that gets each distinct statement as a line of JSON; empty: none.
	Record string
}

// Server plays Snowflake. Close ends it.
type Server struct {
	options      Options
	engine       *engine
	catalog      *catalog
	account      *account
	transactions *transactions
	sessions     *sessions
	queries      *queries
	storage      *storage
	faults       *faults
	running      sync.WaitGroup
	ended        context.Context
	end          context.CancelFunc
	recorder     *recorder

	offset     atomic.Int64 // nanoseconds that the clock is ahead
	maxVariant atomic.Int64 // bytes
	failuresMu sync.Mutex
	failures   map[string]string // of logins, by id
}

// New starts a server without a listener.
func New(o Options) (*Server, error) {
	e, err := openEngine(o.Temp)
	if err != nil {
		return nil, err
	}
	st, err := newStorage(o.Storage)
	if err != nil {
		return nil, errors.Join(err, e.db.Close())
	}
	srv := &Server{
		options: o, engine: e, storage: st, account: newAccount(o.Account), catalog: &catalog{databases: map[string]*database{}},
		sessions: &sessions{byToken: map[string]*session{}, byMaster: map[string]*session{}}, queries: &queries{byID: map[string]*query{}, byRequest: map[string]*query{}},
		faults: &faults{holds: map[string]*hold{}}, failures: map[string]string{}, recorder: newRecorder(o.Record),
	}
	srv.maxVariant.Store(128 << 20)
	srv.ended, srv.end = context.WithCancel(context.Background())
	srv.transactions = newTransactions(e, srv.now)
	return srv, nil
}

// Close cancels the statements, waits for them and drops all rows.
func (srv *Server) Close() error {
	srv.end()
	srv.running.Wait()
	return srv.engine.db.Close()
}

func (srv *Server) now() time.Time { return time.Now().Add(time.Duration(srv.offset.Load())) }

// sessions are those that are open.
type sessions struct {
	mu       sync.Mutex
	last     int64
	byToken  map[string]*session
	byMaster map[string]*session
}

func (all *sessions) add(s *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.last++
	s.id = 1000000000 + all.last
	all.byToken[s.token], all.byMaster[s.master] = s, s
}

func (all *sessions) list() []*session {
	all.mu.Lock()
	defer all.mu.Unlock()
	var list []*session
	for _, s := range all.byMaster {
		list = append(list, s)
	}
	return list
}

func (all *sessions) remove(s *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(all.byToken, s.token)
	delete(all.byMaster, s.master)
}

// of finds the session of an Authorization header. The second result is false for a
// session that is gone.
func (all *sessions) of(header string, master bool) (*session, bool) {
	token := strings.TrimSuffix(strings.TrimPrefix(header, `Snowflake Token="`), `"`)
	all.mu.Lock()
	defer all.mu.Unlock()
	if master {
		s, ok := all.byMaster[token]
		return s, ok
	}
	s, ok := all.byToken[token]
	return s, ok
}

// renew gives a session a new token and returns it.
func (all *sessions) renew(s *session) string {
	all.mu.Lock()
	defer all.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(all.byToken, s.token)
	s.token, s.expired = rand.Text()+rand.Text(), false
	all.byToken[s.token] = s
	return s.token
}

// envelope is the form of every answer.
type envelope struct {
	Data    any     `json:"data"`
	Code    *string `json:"code"`
	Message *string `json:"message"`
	Success bool    `json:"success"`
}

func answer(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(envelope{Data: data, Success: true}) // the client may be gone
}

func refuseRequest(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(envelope{Code: &code, Message: &message})
}

// Handler returns the server's HTTP interface.
func (srv *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /session/v1/login-request", srv.loginRequest)
	mux.HandleFunc("POST /session/token-request", srv.tokenRequest)
	mux.HandleFunc("POST /session/heartbeat", srv.withSession(func(w http.ResponseWriter, _ *http.Request, s *session) {
		s.touch("")
		answer(w, nil)
	}))
	mux.HandleFunc("POST /session", srv.withSession(srv.closeSession))
	mux.HandleFunc("POST /queries/v1/query-request", srv.withSession(srv.queryRequest))
	mux.HandleFunc("POST /queries/v1/abort-request", srv.withSession(srv.abortRequest))
	mux.HandleFunc("GET /queries/{id}/result", srv.withSession(srv.queryResult))
	mux.HandleFunc("GET /monitoring/queries/{id}", srv.withSession(srv.monitorQuery))
	mux.HandleFunc("POST /telemetry/send", func(w http.ResponseWriter, _ *http.Request) { answer(w, "Log Received") })
	srv.admin(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the stand-in does not know "+r.Method+" "+r.URL.Path, http.StatusNotFound)
	})
	return mux
}

// decode reads a body, which the driver may compress.
func decode(r *http.Request, into any) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return fmt.Errorf("read the body: %w", err)
		}
		body = z
	}
	d := json.NewDecoder(io.LimitReader(body, 64<<20))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return nil
}

func (srv *Server) loginRequest(w http.ResponseWriter, r *http.Request) {
	var body loginRequest
	if err := decode(r, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	srv.recorder.login(body.Data.LoginName, body.Data.Authenticator)
	q := r.URL.Query()
	st := state{role: stored(q.Get("roleName")), warehouse: stored(q.Get("warehouse")), database: stored(q.Get("databaseName")), schema: stored(q.Get("schemaName"))}
	s, err := srv.login(&body, st)
	var f *loginFailure
	if errors.As(err, &f) {
		refuseRequest(w, f.code, f.message)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now := s.state()
	answer(w, map[string]any{
		"token": s.token, "masterToken": s.master, "validityInSeconds": 3600, "masterValidityInSeconds": 14400,
		"displayUserName": now.user, "serverVersion": "9.34.0", "firstLogin": false, "healthCheckInterval": 45, "sessionId": s.id,
		"parameters": srv.parameterList(now), "sessionInfo": map[string]any{"databaseName": null(now.database), "schemaName": null(now.schema), "warehouseName": null(now.warehouse), "roleName": now.role},
	})
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// parameterList are the parameters that the driver is told.
func (srv *Server) parameterList(st state) []map[string]any {
	var list []map[string]any
	for name, p := range parameters {
		text := srv.parameter(st, name)
		var v any = text
		switch p.kind {
		case "BOOLEAN":
			v = text == "true"
		case "NUMBER":
			v, _ = strconv.Atoi(text)
		}
		list = append(list, map[string]any{"name": name, "value": v})
	}
	return list
}

// withSession finds the session of a request
// (https://docs.snowflake.com/en/developer-guide/sql-api/handling-responses).
func (srv *Server) withSession(h func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := srv.sessions.of(r.Header.Get("Authorization"), false)
		if !ok {
			refuseRequest(w, "390111", "Session no longer exists. New login required to access the service.")
			return
		}
		s.mu.Lock()
		expired := s.expired
		s.mu.Unlock()
		if expired {
			refuseRequest(w, "390112", "Your session has expired. Please login again.")
			return
		}
		h(w, r, s)
	}
}

func (srv *Server) tokenRequest(w http.ResponseWriter, r *http.Request) {
	var body struct {
		OldSessionToken string `json:"oldSessionToken"`
		RequestType     string `json:"requestType"`
	}
	if err := decode(r, &body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s, ok := srv.sessions.of(r.Header.Get("Authorization"), true)
	if !ok || body.RequestType != "RENEW" {
		refuseRequest(w, "390114", "Authentication token has expired.  The user must authenticate again.")
		return
	}
	token := srv.sessions.renew(s)
	answer(w, map[string]any{"sessionToken": token, "validityInSecondsST": 3600, "masterToken": s.master, "validityInSecondsMT": 14400, "sessionId": s.id})
}

// closeSession ends a session; its transaction is rolled back
// (https://docs.snowflake.com/en/sql-reference/transactions).
func (srv *Server) closeSession(w http.ResponseWriter, r *http.Request, s *session) {
	if r.URL.Query().Get("delete") != "true" {
		http.Error(w, "the stand-in knows only delete=true", http.StatusBadRequest)
		return
	}
	srv.endSession(s)
	answer(w, nil)
}

func (srv *Server) endSession(s *session) {
	srv.sessions.remove(s)
	srv.running.Add(1)
	go func() { // a statement may run still
		defer srv.running.Done()
		select {
		case s.busy <- struct{}{}:
		case <-srv.ended.Done():
			return
		}
		defer func() { <-s.busy }()
		if tx := s.transaction(); tx != nil {
			s.setTransaction(nil)
			_ = srv.transactions.rollback(tx)
		}
	}()
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func lower(s string) string { return strings.ToLower(s) }

func atoi(s string) (int, error) { return strconv.Atoi(s) }

// stored is a name of a connection as it is stored.
func stored(name string) string {
	if unquoted, ok := strings.CutPrefix(name, `"`); ok {
		return strings.TrimSuffix(unquoted, `"`)
	}
	return strings.ToUpper(name)
}
