package awsserver

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Limits of the Data API.
const (
	maxStatement  = 100 << 10 // bytes
	maxStatements = 40        // of one batch
	keepsResults  = 24 * time.Hour
)

// Redshift is the Data API of one serverless workgroup and of one cluster.
type Redshift struct {
	service
	now func() time.Time

	// guarded by service.mu
	schemas    map[string]Schema
	statements map[string]*statement
	tokens     map[string]request
	hang       bool
	failure    string
	local      map[string]Local // schemas that are not external
	answer     func(text string) (rows [][]any, ok bool)
}

// Local is a schema that is not external.
type Local struct {
	Usage []string // grantees
	Views map[string]View
}

// View is a view in a schema that is not external. One without text is a table.
type View struct {
	Text   string   // of the statement that created it
	Select []string // grantees
}

// Schema is an external schema.
type Schema struct {
	Database, Role, Region string
	Usage                  []string // grantees
}

// target are the members that say where a statement runs.
type target struct{ Database, WorkgroupName, ClusterIdentifier, DbUser, SecretArn string }

type parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type execute struct {
	target
	ClientToken, StatementName string
	Sql                        string
	Parameters                 []parameter
	ResultFormat               string
	WithEvent                  bool
}

type batchExecute struct {
	target
	ClientToken, StatementName string
	Sqls                       []string
	WithEvent                  bool
}

// request is one that had a ClientToken.
type request struct {
	sent any
	id   string
}

type statement struct {
	target
	text    string
	status  string
	failure string
	rows    [][]any
	created time.Time
	polls   int
}

// StartRedshift starts the Data API in a region.
func StartRedshift(t testing.TB, sts *STS, region string, now func() time.Time) *Redshift {
	t.Helper()
	s := &Redshift{now: now, schemas: map[string]Schema{}, statements: map[string]*statement{}, tokens: map[string]request{}, local: map[string]Local{}}
	s.service = service{name: "redshift-data", prefix: "RedshiftData", region: region, sts: sts, operations: map[string]func([]byte) (any, error){
		"ExecuteStatement":      operation(s.execute),
		"BatchExecuteStatement": operation(s.batch),
		"DescribeStatement":     operation(s.describe),
		"GetStatementResult":    operation(s.result),
		"CancelStatement":       operation(s.cancel),
	}}
	s.start(t)
	return s
}

// Schemas returns the external schemas by name.
func (s *Redshift) Schemas() map[string]Schema {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.schemas)
}

// CreateLocal creates a schema that is not external.
func (s *Redshift) CreateLocal(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local[name] = Local{Views: map[string]View{}}
}

// CreateTable creates a schema that is not external, with a table.
func (s *Redshift) CreateTable(schema, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local[schema] = Local{Views: map[string]View{name: {}}}
}

// Local returns a schema that is not external.
func (s *Redshift) Local(name string) (schema Local, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, ok = s.local[name]
	schema.Views = maps.Clone(schema.Views)
	return schema, ok
}

// Answer sets the function that executes SELECT statements other than those about
// schemas and views. Its values are strings, int64 or nil. It is called while the
// server is locked; nil: such statements fail.
func (s *Redshift) Answer(f func(text string) (rows [][]any, ok bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Hang makes new statements run for ever.
func (s *Redshift) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = hang
}

// Fail makes new statements fail with the text of an error; empty: they do not.
func (s *Redshift) Fail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = text
}

func invalid(format string, values ...any) *Refusal {
	return refuse("ValidationException", format, values...)
}

func (t target) check() error {
	switch {
	case t.Database == "":
		return invalid("Database is a required parameter.")
	case (t.WorkgroupName == "") == (t.ClusterIdentifier == ""):
		return invalid("Exactly one of ClusterIdentifier and WorkgroupName must be set.")
	case t.WorkgroupName != "" && t.DbUser != "":
		return invalid("DbUser cannot be specified with WorkgroupName.")
	}
	return nil
}

// once returns the id of an earlier request with the same ClientToken, and refuses
// one with other parameters.
func (s *Redshift) once(token string, sent any) (id string, err error) {
	if token == "" {
		return "", nil
	}
	before, ok := s.tokens[token]
	if ok && !reflect.DeepEqual(before.sent, sent) {
		return "", invalid("ClientToken %s was used by a request with other parameters.", token)
	}
	return before.id, nil
}

func (s *Redshift) submit(at target, text, token string, sent any, run func() ([][]any, string)) Object {
	id := rand.Text()
	st := &statement{target: at, text: text, status: "SUBMITTED", created: s.now()}
	s.statements[id] = st
	if token != "" {
		s.tokens[token] = request{sent, id}
	}
	switch {
	case s.hang:
		st.status = "STARTED"
	case s.failure != "":
		st.failure = s.failure
	default:
		st.rows, st.failure = run()
	}
	return Object{"Id": id, "CreatedAt": seconds(st.created), "Database": at.Database}
}

func (s *Redshift) execute(in execute) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Sql == "" || len(in.Sql) > maxStatement {
		return nil, invalid("SQL statement length %d is not between 1 and %d bytes.", len(in.Sql), maxStatement)
	}
	if id, err := s.once(in.ClientToken, in); id != "" || err != nil {
		return Object{"Id": id}, err
	}
	return s.submit(in.target, in.Sql, in.ClientToken, in, func() ([][]any, string) { return s.run(in.Sql, in.Parameters) }), nil
}

func (s *Redshift) batch(in batchExecute) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if len(in.Sqls) == 0 || len(in.Sqls) > maxStatements {
		return nil, invalid("1 validation error detected: Value at 'sqls' failed to satisfy constraint: Member must have length less than or equal to %d", maxStatements)
	}
	for _, text := range in.Sqls {
		if len(text) > maxStatement {
			return nil, invalid("SQL statement length %d is not between 1 and %d bytes.", len(text), maxStatement)
		}
	}
	if id, err := s.once(in.ClientToken, in); id != "" || err != nil {
		return Object{"Id": id}, err
	}
	return s.submit(in.target, strings.Join(in.Sqls, ";"), in.ClientToken, in, func() ([][]any, string) {
		before, local := maps.Clone(s.schemas), map[string]Local{}
		for name, schema := range s.local {
			schema.Views = maps.Clone(schema.Views)
			local[name] = schema
		}
		for _, text := range in.Sqls {
			failure := ""
			if m := externalDDL.FindString(text); m != "" {
				failure = "ERROR: " + strings.ToUpper(strings.Join(strings.Fields(m), " ")) + " cannot run inside a transaction block"
			} else {
				_, failure = s.run(text, nil)
			}
			if failure != "" {
				s.schemas, s.local = before, local // the batch is one transaction
				return nil, failure
			}
		}
		return nil, ""
	}), nil
}

const (
	quoted = `"((?:[^"]|"")+)"`
	viewOf = `(?is)^\s*select n\.nspname, v\.viewname, v\.definition from pg_namespace n left join pg_views v on v\.schemaname = n\.nspname and v\.viewname = :view where n\.nspname = :schema\s*$`
)

var (
	externalDDL  = regexp.MustCompile(`(?is)^\s*(create|alter|drop)\s+external\s+(schema|table)`)
	createSchema = regexp.MustCompile(`(?is)^\s*create external schema (if not exists )?` + quoted + ` from data catalog database '((?:[^']|'')+)' (?:region '([a-z0-9-]+)' )?iam_role (?:'((?:[^']|'')+)'|(default))\s*$`)
	createLocal  = regexp.MustCompile(`(?is)^\s*create schema if not exists ` + quoted + `\s*$`)
	createView   = regexp.MustCompile(`(?is)^\s*create view ` + quoted + `\.` + quoted + ` as\s+(select .*?)(\s+with no schema binding)?\s*$`)
	dropSchema   = regexp.MustCompile(`(?is)^\s*drop schema if exists ` + quoted + `( cascade)?\s*$`)
	grantUsage   = regexp.MustCompile(`(?is)^\s*grant usage on schema ` + quoted + ` to (?:(role|group) )?` + quoted + `\s*$`)
	grantSelect  = regexp.MustCompile(`(?is)^\s*grant select on ` + quoted + `\.` + quoted + ` to (?:(role|group) )?` + quoted + `\s*$`)
	lookUp       = regexp.MustCompile(`(?is)^\s*select databasename, esoptions from svv_external_schemas where schemaname = :schema\s*$`)
	lookUpView   = regexp.MustCompile(viewOf)
	selects      = regexp.MustCompile(`(?is)^\s*(select|with)\s`)
)

// handlers execute the statements that the server knows. values are the groups of the
// form; failure is the text of an error.
var handlers = []struct {
	form *regexp.Regexp
	run  func(s *Redshift, values []string, parameters []parameter) (rows [][]any, failure string)
}{
	{lookUp, (*Redshift).lookUp}, {lookUpView, (*Redshift).lookUpView}, {createSchema, (*Redshift).createSchema}, {createLocal, (*Redshift).createLocal},
	{createView, (*Redshift).createView}, {dropSchema, (*Redshift).dropSchema}, {grantUsage, (*Redshift).grantUsage}, {grantSelect, (*Redshift).grantSelect},
}

// run executes a statement. failure is the text of an error.
func (s *Redshift) run(text string, parameters []parameter) (rows [][]any, failure string) {
	for _, h := range handlers {
		if m := h.form.FindStringSubmatch(text); m != nil {
			return h.run(s, m[1:], parameters)
		}
	}
	if selects.MatchString(text) && s.answer != nil {
		if rows, ok := s.answer(text); ok {
			return rows, ""
		}
	}
	return nil, "ERROR: syntax error at or near \"" + strings.Fields(text + " ?")[0] + "\""
}

func unquoted(name string) string { return strings.ReplaceAll(name, `""`, `"`) }

// valueOf returns a parameter of a statement.
func valueOf(parameters []parameter, name string) (value, failure string) {
	i := slices.IndexFunc(parameters, func(p parameter) bool { return p.Name == name })
	if i < 0 {
		return "", "ERROR: parameter " + name + " is missing"
	}
	return parameters[i].Value, ""
}

func (s *Redshift) lookUp(_ []string, parameters []parameter) (rows [][]any, failure string) {
	name, failure := valueOf(parameters, "schema")
	if failure != "" {
		return nil, failure
	}
	if found, ok := s.schemas[name]; ok {
		options, err := json.Marshal(map[string]string{"IAM_ROLE": found.Role, "REGION": found.Region})
		if err != nil {
			return nil, err.Error()
		}
		rows = append(rows, []any{found.Database, string(options)})
	}
	return rows, ""
}

func (s *Redshift) lookUpView(_ []string, parameters []parameter) (rows [][]any, failure string) {
	schema, failure := valueOf(parameters, "schema")
	if failure != "" {
		return nil, failure
	}
	view, failure := valueOf(parameters, "view")
	if failure != "" {
		return nil, failure
	}
	local, exists := s.local[schema]
	if !exists {
		return nil, ""
	}
	var name, definition any
	if text := local.Views[view].Text; text != "" {
		name, definition = view, text
	}
	return [][]any{{schema, name, definition}}, ""
}

func (s *Redshift) exists(schema string) bool {
	_, external := s.schemas[schema]
	_, local := s.local[schema]
	return external || local
}

func (s *Redshift) createSchema(values []string, _ []parameter) (rows [][]any, failure string) {
	name := unquoted(values[1])
	if s.exists(name) {
		if values[0] == "" {
			return nil, `ERROR: schema "` + name + `" already exists`
		}
		return nil, ""
	}
	role := strings.ReplaceAll(values[4], "''", "'")
	if values[5] != "" {
		role = "default"
	}
	s.schemas[name] = Schema{Database: strings.ReplaceAll(values[2], "''", "'"), Region: values[3], Role: role}
	return nil, ""
}

func (s *Redshift) createLocal(values []string, _ []parameter) (rows [][]any, failure string) {
	if name := unquoted(values[0]); !s.exists(name) {
		s.local[name] = Local{Views: map[string]View{}}
	}
	return nil, ""
}

// createView refuses a view over an external schema that is bound to it.
func (s *Redshift) createView(values []string, _ []parameter) (rows [][]any, failure string) {
	schema, name := unquoted(values[0]), unquoted(values[1])
	local, exists := s.local[schema]
	if !exists {
		return nil, `ERROR: schema "` + schema + `" does not exist`
	}
	if _, exists := local.Views[name]; exists {
		return nil, `ERROR: relation "` + name + `" already exists`
	}
	if values[3] == "" {
		for external := range s.schemas {
			if strings.Contains(values[2], `"`+external+`".`) {
				return nil, "ERROR: External tables are not supported in views"
			}
		}
	}
	local.Views[name] = View{Text: values[2]}
	return nil, ""
}

// dropSchema drops a schema. One that holds views is refused without CASCADE.
func (s *Redshift) dropSchema(values []string, _ []parameter) (rows [][]any, failure string) {
	name := unquoted(values[0])
	if len(s.local[name].Views) > 0 && values[1] == "" {
		return nil, "ERROR: cannot drop schema " + name + " because other objects depend on it"
	}
	delete(s.schemas, name)
	delete(s.local, name)
	return nil, ""
}

func granted(grantees []string, kind, name string) []string {
	if grantee := strings.TrimSpace(strings.ToLower(kind) + " " + unquoted(name)); !slices.Contains(grantees, grantee) {
		return append(slices.Clone(grantees), grantee)
	}
	return grantees
}

func (s *Redshift) grantUsage(values []string, _ []parameter) (rows [][]any, failure string) {
	name := unquoted(values[0])
	if !s.exists(name) {
		return nil, `ERROR: schema "` + name + `" does not exist`
	}
	if schema, ok := s.schemas[name]; ok {
		schema.Usage = granted(schema.Usage, values[1], values[2])
		s.schemas[name] = schema
		return nil, ""
	}
	local := s.local[name]
	local.Usage = granted(local.Usage, values[1], values[2])
	s.local[name] = local
	return nil, ""
}

func (s *Redshift) grantSelect(values []string, _ []parameter) (rows [][]any, failure string) {
	schema, name := unquoted(values[0]), unquoted(values[1])
	view, exists := s.local[schema].Views[name]
	if !exists {
		return nil, `ERROR: relation "` + name + `" does not exist`
	}
	view.Select = granted(view.Select, values[2], values[3])
	s.local[schema].Views[name] = view
	return nil, ""
}

// find returns a statement that has not expired.
func (s *Redshift) find(id string) (*statement, error) {
	st := s.statements[id]
	if st == nil {
		return nil, &Refusal{http.StatusNotFound, "ResourceNotFoundException", "Query does not exist."}
	}
	if s.now().Sub(st.created) > keepsResults {
		return nil, invalid("Could not retrieve the query result as it has expired after 1 day.")
	}
	return st, nil
}

type byID struct {
	Id, NextToken string
}

// describe brings a statement forward: SUBMITTED, STARTED, then its end.
func (s *Redshift) describe(in byID) (any, error) {
	st, err := s.find(in.Id)
	if err != nil {
		return nil, err
	}
	switch {
	case st.status == "SUBMITTED":
		st.status = "STARTED"
	case st.status == "STARTED" && st.failure != "":
		st.status = "FAILED"
	case st.status == "STARTED" && !s.hang:
		st.status = "FINISHED"
	}
	st.polls++
	out := Object{
		"Id": in.Id, "Status": st.status, "CreatedAt": seconds(st.created), "UpdatedAt": seconds(s.now()), "QueryString": st.text,
		"HasResultSet": st.status == "FINISHED" && selects.MatchString(st.text), "ResultRows": len(st.rows), "Duration": 1,
	}
	if st.status == "FAILED" {
		out["Error"] = st.failure
	}
	return out, nil
}

func (s *Redshift) result(in byID) (any, error) {
	st, err := s.find(in.Id)
	if err != nil {
		return nil, err
	}
	if st.status != "FINISHED" || !selects.MatchString(st.text) {
		return nil, &Refusal{http.StatusNotFound, "ResourceNotFoundException", "Query does not have result. Please check query status with DescribeStatement."}
	}
	records := [][]Object{}
	for _, row := range st.rows {
		var fields []Object
		for _, value := range row {
			switch v := value.(type) {
			case nil:
				fields = append(fields, Object{"isNull": true})
			case int64:
				fields = append(fields, Object{"longValue": v})
			default:
				fields = append(fields, Object{"stringValue": v})
			}
		}
		records = append(records, fields)
	}
	return Object{"Records": records, "TotalNumRows": len(records)}, nil
}

func (s *Redshift) cancel(in byID) (any, error) {
	st, err := s.find(in.Id)
	if err != nil {
		return nil, err
	}
	switch st.status {
	case "FINISHED", "FAILED", "ABORTED":
		return nil, invalid("Could not cancel a query that is already in %s state.", st.status)
	}
	st.status = "ABORTED"
	return Object{"Status": true}, nil
}
