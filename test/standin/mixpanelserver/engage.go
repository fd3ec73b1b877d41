package mixpanelserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// engage answers a query for profiles.
func (s *Server) engage(w *answer, r *http.Request, fault *Fault) {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		w.error(Profiles, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	page, session := 0, r.FormValue("session_id")
	if text := r.FormValue("page"); text != "" {
		var err error
		if page, err = strconv.Atoi(text); err != nil || page < 0 {
			w.error(Profiles, http.StatusBadRequest, "page must be a number")
			return
		}
	}
	if page > 0 && session == "" {
		w.error(Profiles, http.StatusBadRequest, "request for page in uncached query for params")
		return
	}
	s.mu.Lock()
	var all []Profile
	if session == "" {
		s.made++
		session = fmt.Sprintf("1780000000-%06d", s.made)
		for _, p := range s.people {
			if p.Group == (r.FormValue("data_group_id") != "") {
				all = append(all, p)
			}
		}
		s.sessions[session] = all
	} else {
		var ok bool
		if all, ok = s.sessions[session]; !ok {
			s.mu.Unlock()
			w.error(Profiles, http.StatusBadRequest, "request for page in uncached query for params")
			return
		}
	}
	s.mu.Unlock()
	from := min(page*s.o.PageSize, len(all))
	to := min(from+s.o.PageSize, len(all))
	type result struct {
		ID         string          `json:"$distinct_id"`
		Properties json.RawMessage `json:"$properties"`
	}
	results := []result{}
	for _, p := range all[from:to] {
		results = append(results, result{p.DistinctID, json.RawMessage(p.Properties)})
	}
	total := 0 // only the first page says it
	if page == 0 {
		total = len(all)
	}
	if fault.Total != nil {
		total = *fault.Total
	}
	w.Header().Set("Content-Type", "application/json")
	if fault.Reset != nil {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(make([]byte, *fault.Reset))
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"page": page, "page_size": s.o.PageSize, "results": results, "session_id": session, "status": "ok", "total": total,
	})
}
