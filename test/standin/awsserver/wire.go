package awsserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Refusal is an error of a service.
type Refusal struct {
	Status  int // of HTTP; 0: 400
	Code    string
	Message string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

func refuse(code, format string, values ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, values...)}
}

// Call is a request that a server has answered.
type Call struct {
	Operation string
	Body      json.RawMessage
	Role      string // of the session
}

// service answers requests of one service in AWS's JSON 1.1 protocol.
type service struct {
	URL string

	name       string // in signatures
	prefix     string // of X-Amz-Target
	region     string
	sts        *STS
	operations map[string]func(body []byte) (any, error)

	mu    sync.Mutex // guards all below, and the state of the service
	calls []Call
	fault func(operation string, body []byte) error
	lose  func(operation string, body []byte) bool
}

func (s *service) start(t testing.TB) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
}

// Fault sets a function that is asked before each operation: its error is the
// answer. nil: no faults.
func (s *service) Fault(f func(operation string, body []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Lose sets a function that selects requests that are carried out, and whose
// answers are lost. nil: none.
func (s *service) Lose(f func(operation string, body []byte) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = f
}

// Calls returns the requests so far whose operation is one of the given ones; all
// without arguments.
func (s *service) Calls(operations ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Call
	for _, c := range s.calls {
		if len(operations) == 0 {
			found = append(found, c)
		}
		for _, o := range operations {
			if c.Operation == o {
				found = append(found, c)
			}
		}
	}
	return found
}

// ServeHTTP answers one request.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	answer, lost, err := s.answer(r, body)
	if lost {
		panic(http.ErrAbortHandler) // closes the connection
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	var refused *Refusal
	if errors.As(err, &refused) {
		w.Header().Set("X-Amzn-Errortype", refused.Code)
		w.WriteHeader(max(refused.Status, http.StatusBadRequest))
		answer = map[string]string{"__type": refused.Code, "message": refused.Message}
	} else if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		answer = map[string]string{"__type": "InternalServerException", "message": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *service) answer(r *http.Request, body []byte) (answer any, lost bool, err error) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), s.prefix+".")
	run := s.operations[operation]
	if !ok || run == nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		return nil, false, refuse("UnknownOperationException", "%s", r.Header.Get("X-Amz-Target"))
	}
	role, err := s.sts.verify(r, body, s.name, s.region)
	if err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, Call{Operation: operation, Body: body, Role: role})
	if s.fault != nil {
		if err := s.fault(operation, body); err != nil {
			return nil, false, err
		}
	}
	answer, err = run(body)
	return answer, s.lose != nil && s.lose(operation, body), err
}

// decode reads the members of a request strictly.
func decode[T any](body []byte) (T, error) {
	var in T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, refuse("SerializationException", "%v", err)
	}
	return in, nil
}

// operation makes the handler of an operation whose request is a T.
func operation[T any](run func(T) (any, error)) func([]byte) (any, error) {
	return func(body []byte) (any, error) {
		in, err := decode[T](body)
		if err != nil {
			return nil, err
		}
		return run(in)
	}
}

// seconds is a time as the JSON protocol writes it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
