package mixpanelserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The two APIs, in Request and Fault.
const (
	Export   = "export"
	Profiles = "engage"
)

// Limits are those of one API. Zero: no limit.
type Limits struct{ PerHour, PerSecond, Concurrent int }

// Options configure a Server.
type Options struct {
	ProjectID        int64
	Username, Secret string // of a service account
	APISecret        string // of the project
	// Zone makes the project one that was created before 2023: dates are those of
	// the zone, and times its wall clock, written as if it was UTC. Nil: UTC.
	Zone     *time.Location
	Now      func() time.Time
	Export   Limits
	Profiles Limits
	PageSize int // of profiles; 0: 1000
}

// Event is an event as it was ingested.
type Event struct {
	Name       string
	Time       int64 // milliseconds
	DistinctID string
	Properties string // other members of properties: `"$insert_id":"i1","plan":"pro"`
	Processed  int64  // milliseconds; 0: the export does not say
}

// Request is a request that arrived.
type Request struct {
	API      string // Export or Profiles
	From, To string // dates
	Where    string // selector expression
	Page     int
	Status   int // of the answer
}

// Fault breaks an answer. The zero value breaks nothing.
type Fault struct {
	Status      int // 0: 200
	ContentType string
	Header      http.Header
	Body        string // replaces the body, if it or Status is set
	// Reset, if not nil, is after how many bytes of the body, as sent, the connection
	// is reset. End makes it end properly there instead.
	Reset *int
	End   bool
	// Marker is a text that is sent after half of the lines, with nothing after it.
	Marker string
	// Stall is waited for after half of the lines; the answer goes on then.
	Stall <-chan struct{}
	// Lines are sent before the last line.
	Lines []string
	// Skip is how many of the first lines are left out.
	Skip int
	// IgnoreWhere answers as if there was no selector expression.
	IgnoreWhere bool
	// Total replaces the total of profiles.
	Total *int
}

// Server is an http.Handler. Its methods may be called while it serves.
type Server struct {
	o Options

	mu       sync.Mutex
	events   map[string][]Event // by date
	generate func(date string, line func([]byte) error) error
	merged   map[string]string
	people   []Profile
	sessions map[string][]Profile
	made     int // sessions so far
	recent   map[string][]time.Time
	running  map[string]int
	most     map[string]int
	requests []Request
	fault    func(Request) *Fault
	noPlan   bool
}

// Profile is a profile; Group makes it one of a group.
type Profile struct {
	DistinctID string
	Properties string // JSON object
	Group      bool
}

// New returns a server without data.
func New(o Options) *Server {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PageSize == 0 {
		o.PageSize = 1000
	}
	return &Server{
		o: o, events: map[string][]Event{}, merged: map[string]string{}, sessions: map[string][]Profile{},
		recent: map[string][]time.Time{}, running: map[string]int{}, most: map[string]int{},
	}
}

// Add ingests events.
func (s *Server) Add(events ...Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		date := time.UnixMilli(e.Time).In(s.o.Zone).Format(time.DateOnly)
		s.events[date] = append(s.events[date], e)
	}
}

// Generate makes the lines of every date by a function, instead of those of added
// events. A line has no newline, and may change after the call.
func (s *Server) Generate(fn func(date string, line func([]byte) error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generate = fn
}

// Merge exports events of an id under another one from now on.
func (s *Server) Merge(id, canonical string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merged[id] = canonical
}

// SetProfiles replaces all profiles. Sessions that began keep theirs.
func (s *Server) SetProfiles(profiles ...Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people = profiles
}

// Break has fn choose the fault of each request; nil: none.
func (s *Server) Break(fn func(Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fn
}

// WithoutPlan answers that the plan does not include the APIs.
func (s *Server) WithoutPlan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noPlan = true
}

// Requests returns the requests so far, with the status of their answers.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Most returns how many requests of an API were answered at the same time.
func (s *Server) Most(api string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most[api]
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/2.0/export":
		s.serve(w, r, Export, s.o.Export)
	case "/api/query/engage", "/api/2.0/engage":
		s.serve(w, r, Profiles, s.o.Profiles)
	default:
		http.NotFound(w, r)
	}
}

// serve checks credentials and limits, and answers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, api string, limits Limits) {
	request := Request{API: api, From: r.FormValue("from_date"), To: r.FormValue("to_date"), Where: r.FormValue("where")}
	request.Page, _ = strconv.Atoi(r.FormValue("page"))
	s.mu.Lock()
	choose, noPlan := s.fault, s.noPlan
	s.mu.Unlock()
	fault := &Fault{}
	if choose != nil {
		if f := choose(request); f != nil {
			fault = f
		}
	}
	w.Header().Set("Date", s.o.Now().UTC().Format(http.TimeFormat))
	answer := &answer{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		request.Status = answer.status
		s.requests = append(s.requests, request)
	}()
	if fault.Status != 0 || fault.Body != "" {
		for k, v := range fault.Header {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Type", fault.ContentType)
		if fault.Status != 0 {
			answer.WriteHeader(fault.Status)
		}
		_, _ = answer.Write([]byte(fault.Body))
		return
	}
	if status, text := s.authenticate(r); status != 0 {
		answer.error(api, status, text)
		return
	}
	if noPlan {
		answer.error(api, http.StatusPaymentRequired, "Your plan does not allow API calls. Upgrade at mixpanel.com/pricing")
		return
	}
	release := s.admit(answer, r, api, limits)
	if release == nil {
		return
	}
	defer release()
	if api == Export {
		s.export(answer, r, fault)
	} else {
		s.engage(answer, r, fault)
	}
}

// authenticate returns the status of a refusal, or 0.
func (s *Server) authenticate(r *http.Request) (status int, text string) {
	const refused = "Unable to authenticate request"
	user, secret, ok := r.BasicAuth()
	switch {
	case !ok:
		return http.StatusUnauthorized, refused
	case s.o.APISecret != "" && user == s.o.APISecret && secret == "":
		return 0, ""
	case s.o.Username == "" || user != s.o.Username || secret != s.o.Secret:
		return http.StatusUnauthorized, refused
	case r.URL.Query().Get("project_id") == "":
		return http.StatusBadRequest, "project_id is a required parameter"
	case r.URL.Query().Get("project_id") != strconv.FormatInt(s.o.ProjectID, 10):
		return http.StatusForbidden, refused
	}
	return 0, ""
}

// admit counts a request, unless a limit refuses it, and returns a function that
// ends it.
func (s *Server) admit(w *answer, r *http.Request, api string, l Limits) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	// Pages after the first do not count as queries.
	counts := r.FormValue("session_id") == ""
	hour, second := 0, 0
	var oldest time.Time
	for _, t := range s.recent[api] {
		if now.Sub(t) < time.Hour {
			if hour == 0 {
				oldest = t
			}
			hour++
		}
		if now.Sub(t) < time.Second {
			second++
		}
	}
	switch {
	case l.Concurrent > 0 && s.running[api] >= l.Concurrent:
		w.refuse(api, "too many export requests in progress for this project", time.Second, l)
		return nil
	case counts && l.PerSecond > 0 && second >= l.PerSecond:
		w.refuse(api, "rate limit reached", time.Second, l)
		return nil
	case counts && l.PerHour > 0 && hour >= l.PerHour:
		w.refuse(api, "rate limit reached", oldest.Add(time.Hour).Sub(now), l)
		return nil
	}
	if counts {
		s.recent[api] = append(s.recent[api], now)
	}
	s.running[api]++
	s.most[api] = max(s.most[api], s.running[api])
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running[api]--
	}
}

// answer notes the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// error answers as the API does: the export with a text, the query with JSON.
func (a *answer) error(api string, status int, text string) {
	if api == Export {
		a.Header().Set("Content-Type", "text/plain")
		a.WriteHeader(status)
		_, _ = fmt.Fprint(a, text)
		return
	}
	a.Header().Set("Content-Type", "application/json")
	a.WriteHeader(status)
	_ = json.NewEncoder(a).Encode(map[string]string{"request": "/api/query/engage", "error": text, "status": "error"})
}

// refuse answers 429. The export answers without headers, the query with them.
func (a *answer) refuse(api, text string, after time.Duration, l Limits) {
	if api == Export {
		a.Header().Set("Content-Type", "application/json")
		a.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(a).Encode(map[string]string{"error": text})
		return
	}
	seconds := int(after/time.Second) + 1
	a.Header().Set("Retry-After", strconv.Itoa(seconds))
	a.Header().Set("RateLimit-Policy", fmt.Sprintf(`"project";q=%d;w=3600, "project-concurrency";q=%d;qu="concurrent-requests"`, l.PerHour, l.Concurrent))
	a.Header().Set("RateLimit", fmt.Sprintf(`"project";r=0;t=%d`, seconds))
	a.error(api, http.StatusTooManyRequests, text)
}
