package gcsserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) get(w http.ResponseWriter, r *http.Request, name string) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[name]
	if o == nil {
		return notFound(name)
	}
	if fail := holds(r.URL.Query(), o); fail != nil {
		return fail
	}
	return answer(w, o.resource(s.Bucket))
}

func (s *Server) media(w http.ResponseWriter, r *http.Request, name string) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[name]
	if o == nil {
		return notFound(name)
	}
	data, code := o.data, http.StatusOK
	if header := r.Header.Get("Range"); header != "" {
		var from, to int
		if n, _ := fmt.Sscanf(header, "bytes=%d-%d", &from, &to); n == 1 {
			to = len(o.data) - 1
		} else if n != 2 {
			return unknown(r)
		}
		if from >= len(o.data) {
			return &failure{http.StatusRequestedRangeNotSatisfiable, "requestedRangeNotSatisfiable", "Request range not satisfiable"}
		}
		to = min(to, len(o.data)-1)
		data, code = o.data[from:to+1], http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(o.data)))
	}
	w.Header().Set("X-Goog-Generation", strconv.FormatInt(o.generation, 10))
	w.Header().Set("X-Goog-Metageneration", strconv.FormatInt(o.metageneration, 10))
	w.Header().Set("X-Goog-Hash", "crc32c="+o.attrs.CRC32C)
	w.Header().Set("Content-Type", o.attrs.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(code)
	_, _ = w.Write(data)
	return nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	prefix, delimiter, after := q.Get("prefix"), q.Get("delimiter"), q.Get("pageToken")
	items, prefixes, next := []map[string]any{}, []string{}, ""
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		rest, ok := strings.CutPrefix(name, prefix)
		entry := name
		if dir, _, below := strings.Cut(rest, delimiter); delimiter != "" && below {
			entry = prefix + dir + delimiter
		}
		switch {
		case !ok || entry <= after || slices.Contains(prefixes, entry):
		case len(items)+len(prefixes) == pageSize:
			return answer(w, map[string]any{"kind": "storage#objects", "items": items, "prefixes": prefixes, "nextPageToken": next})
		case entry != name:
			prefixes, next = append(prefixes, entry), entry
		default:
			items, next = append(items, s.objects[name].resource(s.Bucket)), entry
		}
	}
	return answer(w, map[string]any{"kind": "storage#objects", "items": items, "prefixes": prefixes})
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request, name string) *failure {
	var change struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
		return &failure{http.StatusBadRequest, "parseError", err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[name]
	if o == nil {
		return notFound(name)
	}
	if fail := holds(r.URL.Query(), o); fail != nil {
		return fail
	}
	metadata := maps.Clone(o.attrs.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	maps.Copy(metadata, change.Metadata)
	o.attrs.Metadata = metadata
	o.metageneration++
	return answer(w, o.resource(s.Bucket))
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request, name string) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[name]
	if o == nil {
		return notFound(name)
	}
	if fail := holds(r.URL.Query(), o); fail != nil {
		return fail
	}
	if s.Retention {
		return s.retained(name)
	}
	delete(s.objects, name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) compose(w http.ResponseWriter, r *http.Request, name string) *failure {
	if fail := s.allowed("storage.objects.get"); fail != nil {
		return fail
	}
	var request struct {
		Destination   attributes `json:"destination"`
		SourceObjects []struct {
			Name       string `json:"name"`
			Generation int64  `json:"generation,string"`
		} `json:"sourceObjects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return &failure{http.StatusBadRequest, "parseError", err.Error()}
	}
	if n := len(request.SourceObjects); n == 0 || n > 32 {
		return &failure{http.StatusBadRequest, "invalid", fmt.Sprintf("The number of source components provided (%d) must be between 1 and 32", n)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fail := holds(r.URL.Query(), s.objects[name]); fail != nil {
		return fail
	}
	var data []byte
	for _, from := range request.SourceObjects {
		o := s.objects[from.Name]
		if o == nil || (from.Generation != 0 && from.Generation != o.generation) {
			return notFound(from.Name)
		}
		data = append(data, o.data...)
	}
	request.Destination.Name = name
	o, fail := s.store(request.Destination, data, r.URL.Query())
	if fail != nil {
		return fail
	}
	return answer(w, o.resource(s.Bucket))
}
