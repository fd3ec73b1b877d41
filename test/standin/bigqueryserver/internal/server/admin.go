package server

import (
	"encoding/json"
	"net/http"
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
	post := func(path string, h func(r *http.Request) (any, error)) {
		mux.HandleFunc("POST /_standin/"+path, func(w http.ResponseWriter, r *http.Request) {
			v, err := h(r)
			if err != nil {
				s.refusalOf(err).write(w)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		})
	}
	decode := func(r *http.Request, into any) error {
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			return fail("invalid", "%v", err)
		}
		return nil
	}
	ok := map[string]bool{"ok": true}
	post("quotas", func(r *http.Request) (any, error) {
		var quotas map[string]int64
		if err := decode(r, &quotas); err != nil {
			return nil, err
		}
		return ok, s.setQuotas(quotas)
	})
	post("billing", func(r *http.Request) (any, error) {
		var v struct{ Enabled bool }
		err := decode(r, &v)
		s.unbilled.Store(!v.Enabled)
		return ok, err
	})
	post("api", func(r *http.Request) (any, error) {
		var v struct {
			Name    string
			Enabled bool
		}
		err := decode(r, &v)
		s.access.mu.Lock()
		defer s.access.mu.Unlock()
		s.access.disabled[v.Name] = !v.Enabled
		return ok, err
	})
	post("iam", func(r *http.Request) (any, error) {
		var v struct {
			Account, Resource string
			Roles             []string
		}
		if err := decode(r, &v); err != nil {
			return nil, err
		}
		for _, role := range v.Roles {
			if _, known := permissions[role]; !known {
				return nil, fail("invalid", "the stand-in does not know the role %s", role)
			}
		}
		s.access.grant(v.Account, v.Resource, v.Roles)
		return ok, nil
	})
	post("clock", func(r *http.Request) (any, error) {
		var v struct{ Advance string }
		if err := decode(r, &v); err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(v.Advance)
		if err != nil {
			return nil, fail("invalid", "%v", err)
		}
		s.offset.Add(int64(d))
		return ok, nil
	})
	post("fail", func(r *http.Request) (any, error) {
		var f Fault
		if err := decode(r, &f); err != nil {
			return nil, err
		}
		return ok, s.faults.add(f.Point, &f, nil)
	})
	post("hold", func(r *http.Request) (any, error) {
		var p Point
		if err := decode(r, &p); err != nil {
			return nil, err
		}
		id, err := s.faults.newHold(p)
		return map[string]string{"id": id}, err
	})
	post("hold/{id}/release", func(r *http.Request) (any, error) {
		h := s.faults.find(r.PathValue("id"))
		if h == nil {
			return nil, fail("notFound", "no hold %s", r.PathValue("id"))
		}
		s.faults.release(h)
		return ok, nil
	})
	mux.HandleFunc("GET /_standin/hold/{id}/reached", func(w http.ResponseWriter, r *http.Request) {
		h := s.faults.find(r.PathValue("id"))
		if h == nil {
			fail("notFound", "no hold %s", r.PathValue("id")).write(w)
			return
		}
		select {
		case <-h.reached:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /_standin/statements", func(w http.ResponseWriter, _ *http.Request) {
		s.recordMu.Lock()
		defer s.recordMu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.recorded)
	})
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
