package httpapi

import (
	"bytes"
	"context"
	_ "embed" // openapi.json
	"errors"
	"net/http"
	"reflect"
	"time"
)

//go:embed openapi.json
var document []byte

// answerTime is how long a client may take to read an answer.
const answerTime = 2 * time.Minute

// withoutDeadlines lets an operation take as long as it needs: the request was read, and
// the listener's deadlines count from its beginning.
func withoutDeadlines(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // a connection without deadlines has none to remove
	_ = c.SetWriteDeadline(time.Time{})
}

// operation serves an operation.
func (s *Server) operation(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, codeBusy, "too many requests are being carried out: try again in a second")
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.until, cancel)()
		result, err := e.do(w, r.WithContext(ctx))
		_ = http.NewResponseController(w).SetWriteDeadline(s.o.Now().Add(answerTime)) // without one the client may take its time
		var wrong *requestError
		switch {
		case errors.As(err, &wrong):
			refuse(w, wrong.status, wrong.code, wrong.text)
		case err != nil:
			code := s.o.CodeOf(err)
			refuse(w, statuses[code], code, err.Error())
		default:
			withoutNull(reflect.ValueOf(result))
			answer(w, http.StatusOK, result)
		}
	})
}

// routed answers paths and methods that a mux does not have with JSON.
func routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &discarded{header: http.Header{}}
		mux.ServeHTTP(probe, r)
		if allow := probe.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			refuse(w, http.StatusMethodNotAllowed, codeMethodNotAllowed, r.Method+" is not served here: use "+allow)
			return
		}
		refuse(w, http.StatusNotFound, codeUnknownPath, "there is no such path: see "+base+"/openapi.json")
	})
}

// discarded keeps the header of an answer, and nothing else.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}

func serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(document) // the client that went away is the only reader of this error
}

// serveMetrics answers Prometheus.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	var text bytes.Buffer
	if err := s.o.Metrics(r.Context(), &text); err != nil {
		s.o.Log.Error("could not collect metrics", "error", err)
		refuse(w, http.StatusInternalServerError, s.o.CodeOf(err), "could not collect metrics: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = text.WriteTo(w) // the client that went away is the only reader of this error
}
