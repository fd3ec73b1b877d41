package gcsserver

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// upload carries out an insert, and the requests of a resumable upload.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) *failure {
	q := r.URL.Query()
	switch {
	case q.Has("upload_id"):
		return s.resume(w, r, q.Get("upload_id"))
	case q.Get("uploadType") == "multipart" && r.Method == http.MethodPost:
		return s.insert(w, r)
	case q.Get("uploadType") == "resumable" && r.Method == http.MethodPost:
		return s.begin(w, r)
	}
	return unknown(r)
}

// insert takes attributes and bytes in one request.
func (s *Server) insert(w http.ResponseWriter, r *http.Request) *failure {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return &failure{http.StatusBadRequest, "badContent", err.Error()}
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	var attrs attributes
	head, err := parts.NextPart()
	if err == nil {
		err = json.NewDecoder(head).Decode(&attrs)
	}
	if err != nil {
		return &failure{http.StatusBadRequest, "parseError", err.Error()}
	}
	body, err := parts.NextPart()
	if err != nil {
		return &failure{http.StatusBadRequest, "badContent", err.Error()}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return &failure{http.StatusBadRequest, "badContent", err.Error()}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		return &failure{http.StatusBadRequest, "badContent", "the body does not end with its boundary"}
	}
	if name := r.URL.Query().Get("name"); attrs.Name == "" {
		attrs.Name = name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, fail := s.store(attrs, data, r.URL.Query())
	if fail != nil {
		return fail
	}
	return answer(w, o.resource(s.Bucket))
}

// begin starts a resumable upload. Its preconditions are looked at when it
// ends, as the service does.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) *failure {
	var attrs attributes
	if err := json.NewDecoder(r.Body).Decode(&attrs); err != nil {
		return &failure{http.StatusBadRequest, "parseError", err.Error()}
	}
	if name := r.URL.Query().Get("name"); attrs.Name == "" {
		attrs.Name = name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	id := strconv.FormatInt(s.clock, 10)
	if s.sessions == nil {
		s.sessions = make(map[string]*session)
	}
	s.sessions[id] = &session{attrs: attrs, query: r.URL.Query()}
	w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id="+id)
	w.WriteHeader(http.StatusOK)
	return nil
}

// resume takes the next chunk: "bytes 0-99/*", "bytes 100-149/150", or, to ask
// for the length so far, "bytes */150".
func (s *Server) resume(w http.ResponseWriter, r *http.Request, id string) *failure {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &failure{http.StatusBadRequest, "badContent", err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	up := s.sessions[id]
	if up == nil {
		return &failure{http.StatusNotFound, "notFound", "No such upload"}
	}
	if up.done != nil { // a client that lost the last answer asks again
		return answer(w, up.done.resource(s.Bucket))
	}
	span, total, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	if span != "*" {
		var from, to int
		if n, _ := fmt.Sscanf(span, "%d-%d", &from, &to); n != 2 || from > len(up.data) || to-from+1 != len(body) {
			return &failure{http.StatusBadRequest, "invalid", "Invalid Content-Range " + r.Header.Get("Content-Range")}
		}
		if s.KeepBytes > 0 {
			body = body[:min(len(body), s.KeepBytes)]
		}
		up.data = append(up.data[:from], body...)
	}
	if size, err := strconv.Atoi(total); err != nil || size != len(up.data) {
		if len(up.data)%(256<<10) != 0 {
			return &failure{http.StatusBadRequest, "invalid", "a chunk that is not the last is not a multiple of 256 KiB"}
		}
		if len(up.data) > 0 {
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(up.data)-1))
		}
		w.Header().Set("X-Http-Status-Code-Override", "308")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if declared, ok := strings.CutPrefix(r.Header.Get("X-Goog-Hash"), "crc32c="); ok {
		up.attrs.CRC32C = declared
	}
	o, fail := s.store(up.attrs, up.data, up.query)
	if fail != nil {
		return fail
	}
	up.done, up.data = o, nil
	return answer(w, o.resource(s.Bucket))
}
