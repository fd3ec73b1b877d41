package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// Options say how a Server is started.
type Options struct {
	// TokenInfo is the address of a service that knows the bearers, as
	// https://oauth2.googleapis.com/tokeninfo does; empty: any bearer is taken, and
	// none.
	TokenInfo string
	// Storage is the address of a storage server, for loads from gs://; empty: none.
	Storage string
	// Temp is a directory for uploads and for DuckDB.
	Temp string
	// Record is a file that gets each distinct statement as a line of JSON; empty: none.
	Record string
	// Projects are those that exist, with billing.
	Projects []string
}

// Server plays BigQuery. Close ends it.
type Server struct {
	options   Options
	engine    *engine
	catalog   *catalog
	jobs      *jobs
	mutations *mutations
	faults    *faults
	access    *access
	uploads   *uploads
	running   sync.WaitGroup
	ended     context.Context
	end       context.CancelFunc

	offset   atomic.Int64 // nanoseconds that the clock is ahead
	unbilled atomic.Bool
	quotasMu sync.Mutex
	quotas   map[string]int64
	recordMu sync.Mutex
	recorded []Executed
	seen     map[string]bool // lines of the record
}

// Executed is one statement that was run.
type Executed struct {
	Job    string `json:"job"`
	Type   string `json:"type"`
	Text   string `json:"text"`
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// New starts a server without a listener.
func New(o Options) (*Server, error) {
	e, err := openEngine(o.Temp)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, engine: e, jobs: &jobs{byID: map[string]*job{}}, mutations: newMutations(), faults: &faults{holds: map[string]*hold{}},
		access: newAccess(), uploads: &uploads{open: map[string]*upload{}}, quotas: defaultQuotas(), seen: map[string]bool{},
	}
	s.ended, s.end = context.WithCancel(context.Background())
	s.catalog = &catalog{engine: e, now: s.now, datasets: map[string]*dataset{}}
	return s, nil
}

// Close cancels the jobs, waits for them and drops all rows.
func (s *Server) Close() error {
	s.end()
	s.running.Wait()
	return s.engine.db.Close()
}

func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }

func (s *Server) hasProject(id string) bool {
	for _, p := range s.options.Projects {
		if p == id {
			return true
		}
	}
	return false
}

// record keeps a statement for tests and for the judge.
func (s *Server) record(j *job, kind, text string, err error) {
	e := Executed{Job: j.id, Type: kind, Text: text}
	if err != nil {
		f := asFailure(err)
		e.Reason, e.Error = f.reason, f.message
	}
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	s.recorded = append(s.recorded, e)
}

// billing refuses DML without billing
// (https://docs.cloud.google.com/bigquery/docs/sandbox).
func (s *Server) billing() error {
	if s.unbilled.Load() {
		return fail("billingNotEnabled", "Billing has not been enabled for this project. Enable billing at https://console.cloud.google.com/billing. DML queries are not allowed in the free tier. Set up a billing account to remove this restriction.")
	}
	return nil
}

// request is one request on its way through the server.
type request struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	user string
	self string // the base of links
}

// Handler returns the server's HTTP interface.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	api := map[string]func(*request) error{
		"GET /projects/{project}/datasets":                               (*request).listDatasets,
		"POST /projects/{project}/datasets":                              (*request).insertDataset,
		"GET /projects/{project}/datasets/{dataset}":                     (*request).getDataset,
		"PATCH /projects/{project}/datasets/{dataset}":                   (*request).patchDataset,
		"PUT /projects/{project}/datasets/{dataset}":                     (*request).patchDataset,
		"DELETE /projects/{project}/datasets/{dataset}":                  (*request).removeDataset,
		"GET /projects/{project}/datasets/{dataset}/tables":              (*request).listTables,
		"POST /projects/{project}/datasets/{dataset}/tables":             (*request).insertTable,
		"GET /projects/{project}/datasets/{dataset}/tables/{table}":      (*request).getTable,
		"PATCH /projects/{project}/datasets/{dataset}/tables/{table}":    (*request).patchTable,
		"PUT /projects/{project}/datasets/{dataset}/tables/{table}":      (*request).patchTable,
		"DELETE /projects/{project}/datasets/{dataset}/tables/{table}":   (*request).removeTable,
		"GET /projects/{project}/datasets/{dataset}/tables/{table}/data": (*request).listRows,
		"POST /projects/{project}/datasets/{dataset}/tables/{action}":    (*request).tableAction,
		"POST /projects/{project}/jobs":                                  (*request).insertJob,
		"GET /projects/{project}/jobs":                                   (*request).listJobs,
		"GET /projects/{project}/jobs/{job}":                             (*request).getJob,
		"POST /projects/{project}/jobs/{job}/cancel":                     (*request).cancelJob,
		"DELETE /projects/{project}/jobs/{job}/delete":                   (*request).deleteJob,
		"POST /projects/{project}/queries":                               (*request).runQuery,
		"GET /projects/{project}/queries/{job}":                          (*request).getResults,
	}
	for pattern, h := range api {
		method, path, _ := strings.Cut(pattern, " ")
		for _, base := range []string{"", "/bigquery/v2"} {
			mux.Handle(method+" "+base+path, s.handle(base, h))
		}
	}
	for _, base := range []string{"", "/bigquery/v2"} {
		mux.Handle("POST /upload"+base+"/projects/{project}/jobs", s.handle("/bigquery/v2", (*request).upload))
		mux.Handle("PUT /upload"+base+"/projects/{project}/jobs", s.handle("/bigquery/v2", (*request).upload))
	}
	s.admin(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail("notImplemented", "the stand-in does not know %s %s", r.Method, r.URL.Path).write(w)
	})
	return mux
}

func (s *Server) handle(base string, h func(*request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{s: s, w: w, r: r, self: "http://" + r.Host + base}
		err := q.authenticate()
		if err == nil {
			err = h(q)
		}
		if err != nil {
			s.refusalOf(err).write(w)
		}
	})
}

// authenticate finds the account of the bearer.
func (q *request) authenticate() error {
	project := q.r.PathValue("project")
	if !q.s.hasProject(project) {
		return fail("notFound", "Not found: Project %s", project)
	}
	account, err := q.s.access.account(q.r.Context(), q.s.options.TokenInfo, q.r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	q.user = account
	return q.s.access.enabled(project)
}

func (q *request) path(name string) string { return q.r.PathValue(name) }

// decode reads the body.
func (q *request) decode(into any) error {
	if err := json.NewDecoder(io.LimitReader(q.r.Body, 20<<20)).Decode(into); err != nil {
		return fail("parseError", "Parse Error: %v", err)
	}
	return nil
}

// answer writes a value.
func (q *request) answer(v any) error {
	q.w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if err := json.NewEncoder(q.w).Encode(v); err != nil {
		return nil // the client is gone
	}
	return nil
}

func (q *request) noContent() error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// start runs a job.
func (s *Server) start(j *job, run func(ctx context.Context) (*result, error)) {
	ctx, cancel := context.WithCancel(s.ended)
	j.cancel = cancel
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer cancel()
		j.begin(s.now())
		r, err := run(ctx)
		if err != nil {
			err = s.refusalOf(err).failure
		}
		j.finish(s.now(), r, err)
	}()
}

func (s *Server) newJob(project, location, id, user string, config *bq.JobConfiguration) (*job, error) {
	if id == "" {
		id = newID("job_")
	}
	if !validJobID(id) {
		return nil, fail("invalid", "Invalid job ID %q. Job IDs must be alphanumeric (plus underscores and dashes) and must be at most 1024 characters long.", id)
	}
	if err := checkLabels(config.Labels); err != nil {
		return nil, err
	}
	j := &job{id: id, project: project, location: canonicalLocation(location), user: user, config: config, done: make(chan struct{}), cancel: func() {}, state: "PENDING", created: s.now(), dryRun: config.DryRun}
	if j.dryRun {
		j.id = ""
		return j, nil
	}
	return j, s.jobs.add(j)
}

func validJobID(id string) bool {
	return len(id) <= 1024 && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	})
}

// tempFile creates a file for an upload.
func (s *Server) tempFile() (*os.File, error) {
	f, err := os.CreateTemp(s.options.Temp, "upload-")
	if err != nil {
		return nil, fmt.Errorf("create a file for an upload: %w", err)
	}
	return f, nil
}
