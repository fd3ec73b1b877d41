package server

import (
	"maps"
	"sync"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// state is the part of a session that USE and ALTER SESSION change.
type state struct {
	user, role, warehouse, database, schema string
	parameters                              map[string]string // set for the session
}

// session is one session. busy is held by the statement that runs.
type session struct {
	srv  *Server
	id   int64
	busy chan struct{}

	mu       sync.Mutex
	token    string
	master   string // never changes
	expired  bool   // token answers 390112
	current  state
	tx       *transaction
	used     time.Time
	last     string // query id
	lastText string
}

func (s *session) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.current
	st.parameters = maps.Clone(st.parameters)
	return st
}

func (s *session) change(f func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.current)
}

func (s *session) lastUsed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *session) touch(query string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used = s.srv.now(); query != "" {
		s.last = query
	}
}

func (s *session) lastStatement() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *session) transaction() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

func (s *session) setTransaction(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = tx
}

// abandon takes a transaction from a session that runs no statement. It reports whether
// it did; the caller rolls it back.
func (s *session) abandon(tx *transaction) bool {
	select {
	case s.busy <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.busy }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx != tx {
		return false
	}
	s.tx = nil
	return true
}

// parameter returns the value of a parameter: the session's, the account's or the
// default.
func (x *execution) parameter(name string) string {
	return x.srv.parameter(x.session.state(), name)
}

func (srv *Server) parameter(st state, name string) string {
	if v, ok := st.parameters[name]; ok {
		return v
	}
	srv.account.mu.Lock()
	v, ok := srv.account.parameters[name]
	srv.account.mu.Unlock()
	if ok {
		return v
	}
	return parameters[name].standard
}

// parameterKind is a parameter with its type and default.
type parameterKind struct {
	kind     string // BOOLEAN, NUMBER, STRING
	standard string
	// values are those that a STRING may have; nil: any.
	values []string
	// least and most bound a NUMBER.
	least, most int
	// account: sessions and users cannot set it.
	account bool
}

// parameters are those of sessions, and of accounts
// (https://docs.snowflake.com/en/sql-reference/parameters).
var parameters = map[string]parameterKind{
	"ABORT_DETACHED_QUERY":                          {kind: "BOOLEAN", standard: "false"},
	"AUTOCOMMIT":                                    {kind: "BOOLEAN", standard: "true"},
	"BINARY_OUTPUT_FORMAT":                          {kind: "STRING", standard: "HEX", values: []string{"HEX"}},
	"CLIENT_PREFETCH_THREADS":                       {kind: "NUMBER", standard: "4", least: 1, most: 10},
	"CLIENT_RESULT_CHUNK_SIZE":                      {kind: "NUMBER", standard: "160", least: 16, most: 160},
	"CLIENT_SESSION_KEEP_ALIVE":                     {kind: "BOOLEAN", standard: "false"},
	"CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY": {kind: "NUMBER", standard: "3600", least: 900, most: 3600},
	"CLIENT_STAGE_ARRAY_BINDING_THRESHOLD":          {kind: "NUMBER", standard: "65280", least: 0, most: 1 << 30},
	"CLIENT_TELEMETRY_ENABLED":                      {kind: "BOOLEAN", standard: "false"},
	"CLIENT_TIMESTAMP_TYPE_MAPPING":                 {kind: "STRING", standard: "TIMESTAMP_LTZ", values: []string{"TIMESTAMP_LTZ", "TIMESTAMP_NTZ"}},
	"DATE_OUTPUT_FORMAT":                            {kind: "STRING", standard: "YYYY-MM-DD", values: []string{"YYYY-MM-DD"}},
	"ERROR_ON_NONDETERMINISTIC_MERGE":               {kind: "BOOLEAN", standard: "true"},
	"ERROR_ON_NONDETERMINISTIC_UPDATE":              {kind: "BOOLEAN", standard: "false"},
	"GO_QUERY_RESULT_FORMAT":                        {kind: "STRING", standard: "json", values: []string{"json", "JSON"}},
	"JSON_INDENT":                                   {kind: "NUMBER", standard: "2", least: 0, most: 16},
	"LOCK_TIMEOUT":                                  {kind: "NUMBER", standard: "43200", least: 0, most: 1 << 30},
	"MULTI_STATEMENT_COUNT":                         {kind: "NUMBER", standard: "1", least: 0, most: 1 << 30},
	"QUERY_TAG":                                     {kind: "STRING"},
	"QUOTED_IDENTIFIERS_IGNORE_CASE":                {kind: "BOOLEAN", standard: "false"},
	"READ_CONSISTENCY_MODE":                         {kind: "STRING", standard: "session", values: []string{"session", "global", "SESSION", "GLOBAL"}, account: true},
	"ROWS_PER_RESULTSET":                            {kind: "NUMBER", standard: "0", least: 0, most: 1 << 30},
	"STATEMENT_QUEUED_TIMEOUT_IN_SECONDS":           {kind: "NUMBER", standard: "0", least: 0, most: 1 << 30},
	"STATEMENT_TIMEOUT_IN_SECONDS":                  {kind: "NUMBER", standard: "172800", least: 0, most: 604800},
	"TIMESTAMP_DAY_IS_ALWAYS_24H":                   {kind: "BOOLEAN", standard: "false"},
	"TIMESTAMP_LTZ_OUTPUT_FORMAT":                   {kind: "STRING"},
	"TIMESTAMP_NTZ_OUTPUT_FORMAT":                   {kind: "STRING", standard: "YYYY-MM-DD HH24:MI:SS.FF3"},
	"TIMESTAMP_OUTPUT_FORMAT":                       {kind: "STRING", standard: "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"},
	"TIMESTAMP_TYPE_MAPPING":                        {kind: "STRING", standard: "TIMESTAMP_NTZ", values: []string{"TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ"}},
	"TIMESTAMP_TZ_OUTPUT_FORMAT":                    {kind: "STRING"},
	"TIMEZONE":                                      {kind: "STRING", standard: "America/Los_Angeles"},
	"TRANSACTION_ABORT_ON_ERROR":                    {kind: "BOOLEAN", standard: "false"},
	"TRANSACTION_DEFAULT_ISOLATION_LEVEL":           {kind: "STRING", standard: "READ COMMITTED", values: []string{"READ COMMITTED"}},
	"USE_CACHED_RESULT":                             {kind: "BOOLEAN", standard: "true"},
	"WEEK_START":                                    {kind: "NUMBER", standard: "0", least: 0, most: 7},
}

// checkParameter returns the value of a parameter as it is stored.
func checkParameter(name, value string) (string, error) {
	p, known := parameters[name]
	if !known {
		return "", refuse(1420, "22023", "SQL compilation error:\ninvalid parameter '%s'", name)
	}
	invalid := refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter '%s'", value, name)
	switch p.kind {
	case "BOOLEAN":
		switch value = lower(value); value {
		case "true", "false":
			return value, nil
		}
		return "", invalid
	case "NUMBER":
		n, err := atoi(value)
		if err != nil || n < p.least || n > p.most {
			return "", invalid
		}
		return value, nil
	}
	if name == "TIMEZONE" {
		if _, err := time.LoadLocation(value); err != nil || value == "" || value == "Local" {
			return "", invalid
		}
	}
	if name == "QUERY_TAG" && len(value) > 2000 {
		return "", invalid
	}
	for _, v := range p.values {
		if v == value {
			return value, nil
		}
	}
	if p.values != nil {
		return "", invalid
	}
	return value, nil
}

// checkSessionParameter is checkParameter for a session or user. The text of the refusal
// of an account's parameter is not documented.
func checkSessionParameter(name, value string) (string, error) {
	if parameters[name].account {
		return "", refuse(1420, "22023", "SQL compilation error:\ninvalid parameter '%s'", name)
	}
	return checkParameter(name, value)
}

// alterSession is ALTER SESSION SET and UNSET.
func (x *execution) alterSession(a *snowsql.Alter) error {
	set := map[string]string{}
	for name, o := range a.Options {
		v, err := checkSessionParameter(name, o.Text)
		if err != nil {
			return err
		}
		if name == "QUOTED_IDENTIFIERS_IGNORE_CASE" && v == "true" {
			return snowsql.Unsupported("QUOTED_IDENTIFIERS_IGNORE_CASE")
		}
		if name == "AUTOCOMMIT" && x.tx != nil {
			return snowsql.Unsupported("AUTOCOMMIT in a transaction")
		}
		set[name] = v
	}
	for _, name := range a.Unset {
		if p, known := parameters[name]; !known || p.account {
			return refuse(1420, "22023", "SQL compilation error:\ninvalid parameter '%s'", name)
		}
	}
	x.session.change(func(st *state) {
		maps.Copy(st.parameters, set)
		for _, name := range a.Unset {
			delete(st.parameters, name)
		}
	})
	return nil
}
