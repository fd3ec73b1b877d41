package server

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Executed is one statement that was run.
type Executed struct {
	Query   string    `json:"query"`
	Request string    `json:"request"`
	Session int64     `json:"session"`
	Text    string    `json:"text"`
	Tag     string    `json:"tag,omitempty"`
	Code    string    `json:"code,omitempty"`
	Error   string    `json:"error,omitempty"`
	Rows    int       `json:"rows"`
	Started time.Time `json:"started"`
}

// Login is one login-request.
type Login struct {
	User          string `json:"user"`
	Authenticator string `json:"authenticator"`
}

// recorder keeps statements for tests and for the judges of SQL.
type recorder struct {
	file string // empty: none

	mu       sync.Mutex
	executed []Executed
	logins   []Login
	seen     map[string]bool
}

func newRecorder(file string) *recorder { return &recorder{file: file, seen: map[string]bool{}} }

func (r *recorder) login(user, authenticator string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logins = append(r.logins, Login{user, authenticator})
}

func (r *recorder) statement(q *query) {
	q.mu.Lock()
	e := Executed{Query: q.id, Request: q.request, Session: q.session.id, Text: q.text, Tag: q.session.state().parameters["QUERY_TAG"], Started: q.started}
	if tag, ok := q.body.Parameters["QUERY_TAG"].(string); ok {
		e.Tag = tag
	}
	if q.err != nil {
		e.Code, e.Error = code(q.err), q.err.Message
	} else if q.result != nil {
		e.Rows = len(q.result.rows)
	}
	q.mu.Unlock()
	r.mu.Lock()
	r.executed = append(r.executed, e)
	fresh := r.file != "" && !r.seen[e.Text]
	r.seen[e.Text] = true
	r.mu.Unlock()
	if fresh {
		r.write(e)
	}
}

// write appends a line; one write is whole.
func (r *recorder) write(e Executed) {
	line, err := json.Marshal(map[string]string{"text": e.Text, "error": e.Error})
	if err != nil {
		return
	}
	f, err := os.OpenFile(r.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(append(line, '\n'))
	_ = f.Close()
}

func (r *recorder) list() ([]Executed, []Login) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Executed{}, r.executed...), append([]Login{}, r.logins...)
}
