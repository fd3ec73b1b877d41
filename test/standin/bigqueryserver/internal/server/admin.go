package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// admin adds the paths that change how the server behaves:
//
//	POST /_standin/quotas   {"metadata_updates_per_10s": 5, …}
//	POST /_standin/billing  {"enabled": false}
//	POST /_standin/api      {"name": "bigquery.googleapis.com", "enabled": false}
//	POST /_standin/iam      {"account": …, "resource": "project" or "project:dataset", "roles": […]}
//	POST /_standin/clock    {"advance": "24h"}
//	POST /_standin/fail     a Fault
//	POST /_standin/hold     a Point; the answer has its id
//	GET  /_standin/hold/{id}/reached   returns when a job waits there
//	POST /_standin/hold/{id}/release
//	GET  /_standin/statements          the statements that were run
func (s *Server) admin(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"POST quotas":            control(s, s.setQuotas),
		"POST billing":           control(s, s.setBilling),
		"POST api":               control(s, s.setAPI),
		"POST iam":               control(s, s.grantRoles),
		"POST clock":             control(s, s.advance),
		"POST fail":              control(s, func(f Fault) error { return s.faults.add(f.Point, &f, nil) }),
		"POST hold":              s.hold,
		"GET hold/{id}/reached":  s.holdReached,
		"POST hold/{id}/release": s.releaseHold,
		"GET statements":         s.statements,
	} {
		method, rest, _ := strings.Cut(path, " ")
		mux.HandleFunc(method+" /_standin/"+rest, h)
	}
}

// control returns a handler that decodes a setting, without unknown members, and
// applies it.
func control[T any](s *Server, apply func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setting, err := decodeSetting[T](r)
		if err == nil {
			err = apply(setting)
		}
		s.answerAdmin(w, map[string]bool{"ok": true}, err)
	}
}

func decodeSetting[T any](r *http.Request) (setting T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&setting); err != nil {
		return setting, fail("invalid", "%v", err)
	}
	return setting, nil
}

// answerAdmin writes v, or the refusal of an error.
func (s *Server) answerAdmin(w http.ResponseWriter, v any, err error) {
	if err != nil {
		s.refusalOf(err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) setQuotas(quotas map[string]int64) error {
	s.quotasMu.Lock()
	defer s.quotasMu.Unlock()
	for name, n := range quotas {
		if _, known := s.quotas[name]; !known {
			return fail("invalid", "the stand-in does not know the quota %s", name)
		}
		s.quotas[name] = n
	}
	return nil
}

func (s *Server) setBilling(v struct{ Enabled bool }) error {
	s.unbilled.Store(!v.Enabled)
	return nil
}

func (s *Server) setAPI(v struct {
	Name    string
	Enabled bool
}) error {
	s.access.mu.Lock()
	defer s.access.mu.Unlock()
	s.access.disabled[v.Name] = !v.Enabled
	return nil
}

func (s *Server) grantRoles(v struct {
	Account, Resource string
	Roles             []string
}) error {
	for _, role := range v.Roles {
		if _, known := permissions[role]; !known {
			return fail("invalid", "the stand-in does not know the role %s", role)
		}
	}
	s.access.grant(v.Account, v.Resource, v.Roles)
	return nil
}

func (s *Server) advance(v struct{ Advance string }) error {
	d, err := time.ParseDuration(v.Advance)
	if err != nil {
		return fail("invalid", "%v", err)
	}
	s.offset.Add(int64(d))
	return nil
}

// hold makes the job that comes to a point wait there.
func (s *Server) hold(w http.ResponseWriter, r *http.Request) {
	p, err := decodeSetting[Point](r)
	var id string
	if err == nil {
		id, err = s.faults.newHold(p)
	}
	s.answerAdmin(w, map[string]string{"id": id}, err)
}

// holdReached answers when a job waits at a hold.
func (s *Server) holdReached(w http.ResponseWriter, r *http.Request) {
	h, err := s.findHold(r)
	if err == nil {
		select {
		case <-h.reached:
		case <-r.Context().Done():
			return
		}
	}
	s.answerAdmin(w, map[string]bool{"ok": true}, err)
}

func (s *Server) releaseHold(w http.ResponseWriter, r *http.Request) {
	h, err := s.findHold(r)
	if err == nil {
		s.faults.release(h)
	}
	s.answerAdmin(w, map[string]bool{"ok": true}, err)
}

func (s *Server) findHold(r *http.Request) (*hold, error) {
	h := s.faults.find(r.PathValue("id"))
	if h == nil {
		return nil, fail("notFound", "no hold %s", r.PathValue("id"))
	}
	return h, nil
}

func (s *Server) statements(w http.ResponseWriter, _ *http.Request) {
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	s.answerAdmin(w, s.recorded, nil)
}
