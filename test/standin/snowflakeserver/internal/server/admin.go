package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// admin adds the paths that change how the server behaves:
//
//	POST /_standin/sql      {"statements": […]}: run as ACCOUNTADMIN; the answer has the rows of the last one
//	POST /_standin/user     {"name": …, "mfa": true, "pats": {token: {"role", "expires"}}, "oauth": …, "network_policy": true, "locked": "15m"}
//	POST /_standin/aws      {"id": …, "secret": …, "arn": …}: an access key of AWS, for workload identities
//	POST /_standin/network  {"blocked": "203.0.113.9"}: no login is allowed from there; empty: all are
//	POST /_standin/warehouse {"name": …, "suspended": true, "auto_resume": false, "monitor": "M"}
//	POST /_standin/limits   {"max_variant": 16777216}
//	POST /_standin/lag      {"on": true}: other sessions do not see new commits; false: they see all
//	POST /_standin/expire   {"part": "token", "master" or "session"}: of all open sessions
//	POST /_standin/clock    {"advance": "24h"}
//	POST /_standin/fail     a Fault
//	POST /_standin/hold     a Point; the answer has its id
//	GET  /_standin/hold/{id}/reached   returns when a statement waits there
//	POST /_standin/hold/{id}/release
//	GET  /_standin/statements          the statements that were run, and the logins
func (srv *Server) admin(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"POST sql":               srv.sql,
		"POST user":              control(srv.setAdminUser),
		"POST aws":               control(srv.addAWSKey),
		"POST network":           control(srv.setNetwork),
		"POST warehouse":         control(srv.setWarehouse),
		"POST limits":            control(srv.setLimits),
		"POST lag":               control(func(v struct{ On bool }) error { srv.transactions.lag.set(v.On); return nil }),
		"POST expire":            control(srv.expire),
		"POST clock":             control(srv.advance),
		"POST fail":              control(func(f Fault) error { return srv.faults.add(f.Point, &f, nil) }),
		"POST hold":              srv.hold,
		"GET hold/{id}/reached":  srv.holdReached,
		"POST hold/{id}/release": srv.releaseHold,
		"GET statements": func(w http.ResponseWriter, _ *http.Request) {
			executed, logins := srv.recorder.list()
			answerAdmin(w, map[string]any{"statements": executed, "logins": logins}, nil)
		},
	} {
		method, rest, _ := strings.Cut(path, " ")
		mux.HandleFunc(method+" /_standin/"+rest, h)
	}
}

// control returns a handler that decodes a setting, without unknown members, and
// applies it.
func control[T any](apply func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setting, err := decodeSetting[T](r)
		if err == nil {
			err = apply(setting)
		}
		answerAdmin(w, map[string]bool{"ok": true}, err)
	}
}

func decodeSetting[T any](r *http.Request) (setting T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err = d.Decode(&setting)
	return setting, err
}

func answerAdmin(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (srv *Server) sql(w http.ResponseWriter, r *http.Request) {
	setting, err := decodeSetting[struct{ Statements []string }](r)
	var rows [][]*string
	if err == nil {
		rows, err = srv.runSQL(setting.Statements)
	}
	answerAdmin(w, map[string]any{"rows": rows}, err)
}

// runSQL runs statements one after another in a session of ACCOUNTADMIN, and returns the
// rows of the last one.
func (srv *Server) runSQL(statements []string) (rows [][]*string, err error) {
	s := &session{srv: srv, busy: make(chan struct{}, 1), current: state{user: "SNOWFLAKE", role: "ACCOUNTADMIN", parameters: map[string]string{}}}
	for _, text := range statements {
		q := &query{id: newUUID(), session: s, text: text, done: make(chan struct{}), started: srv.now()}
		last, err := srv.run(context.Background(), q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, refusal(err))
		}
		rows = last.rows
	}
	return rows, nil
}

func (srv *Server) addAWSKey(k awsKey) error {
	srv.account.mu.Lock()
	defer srv.account.mu.Unlock()
	srv.account.awsKeys[k.ID] = k
	return nil
}

type adminToken struct {
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
}

type adminUser struct {
	Name          string                `json:"name"`
	MFA           *bool                 `json:"mfa,omitempty"`
	NetworkPolicy *bool                 `json:"network_policy,omitempty"`
	PATs          map[string]adminToken `json:"pats,omitempty"`
	OAuth         map[string]adminToken `json:"oauth,omitempty"`
	Locked        string                `json:"locked,omitempty"`
}

func (srv *Server) setAdminUser(v adminUser) error {
	locked := time.Duration(0)
	if v.Locked != "" {
		var err error
		if locked, err = time.ParseDuration(v.Locked); err != nil {
			return err
		}
	}
	srv.account.mu.Lock()
	defer srv.account.mu.Unlock()
	u := srv.account.users[v.Name]
	if u == nil {
		return fmt.Errorf("no user %s", v.Name)
	}
	if v.MFA != nil {
		u.mfa = *v.MFA
	}
	if v.NetworkPolicy != nil {
		u.networkPolicy = *v.NetworkPolicy
	}
	if locked > 0 {
		u.lockedUntil = srv.now().Add(locked)
	}
	for _, set := range []struct {
		from map[string]adminToken
		to   map[string]*accessToken
	}{{v.PATs, u.tokens}, {v.OAuth, u.oauth}} {
		for token, t := range set.from {
			if t.Expires.IsZero() {
				t.Expires = srv.now().Add(time.Hour)
			}
			set.to[token] = &accessToken{t.Role, t.Expires}
		}
	}
	return nil
}

func (srv *Server) setNetwork(v struct{ Blocked string }) error {
	srv.account.mu.Lock()
	defer srv.account.mu.Unlock()
	srv.account.blocked = v.Blocked
	return nil
}

func (srv *Server) setWarehouse(v struct {
	Name       string
	Suspended  bool
	AutoResume bool `json:"auto_resume"`
	Monitor    string
}) error {
	srv.account.mu.Lock()
	defer srv.account.mu.Unlock()
	w := srv.account.warehouses[v.Name]
	if w == nil {
		return fmt.Errorf("no warehouse %s", v.Name)
	}
	w.suspended, w.autoResume, w.monitor = v.Suspended, v.AutoResume, v.Monitor
	return nil
}

func (srv *Server) setLimits(v struct {
	MaxVariant int64 `json:"max_variant"`
}) error {
	if v.MaxVariant <= 0 {
		return errors.New("max_variant is not positive")
	}
	srv.maxVariant.Store(v.MaxVariant)
	return nil
}

// expire lets the tokens of the open sessions expire. With part = session the sessions
// are gone, with their transactions.
func (srv *Server) expire(v struct{ Part string }) error {
	for _, s := range srv.sessions.list() {
		switch v.Part {
		case "token":
			s.mu.Lock()
			s.expired = true
			s.mu.Unlock()
		case "master":
			s.mu.Lock()
			s.expired = true
			s.mu.Unlock()
			srv.sessions.mu.Lock()
			delete(srv.sessions.byMaster, s.master)
			srv.sessions.mu.Unlock()
		case "session":
			srv.endSession(s)
		default:
			return fmt.Errorf("expire %q is not known", v.Part)
		}
	}
	return nil
}

func (srv *Server) advance(v struct{ Advance string }) error {
	d, err := time.ParseDuration(v.Advance)
	if err != nil {
		return err
	}
	srv.offset.Add(int64(d))
	srv.transactions.jumped()
	return nil
}

// hold makes the statement that comes to a point wait there.
func (srv *Server) hold(w http.ResponseWriter, r *http.Request) {
	p, err := decodeSetting[Point](r)
	var id string
	if err == nil {
		id, err = srv.faults.newHold(p)
	}
	answerAdmin(w, map[string]string{"id": id}, err)
}

func (srv *Server) holdReached(w http.ResponseWriter, r *http.Request) {
	h := srv.faults.find(r.PathValue("id"))
	if h == nil {
		answerAdmin(w, nil, errors.New("no such hold"))
		return
	}
	select {
	case <-h.reached:
		answerAdmin(w, map[string]bool{"ok": true}, nil)
	case <-r.Context().Done():
	}
}

func (srv *Server) releaseHold(w http.ResponseWriter, r *http.Request) {
	h := srv.faults.find(r.PathValue("id"))
	if h == nil {
		answerAdmin(w, nil, errors.New("no such hold"))
		return
	}
	srv.faults.release(h)
	answerAdmin(w, map[string]bool{"ok": true}, nil)
}

var _ snowsql.Catalog = (*execution)(nil)
