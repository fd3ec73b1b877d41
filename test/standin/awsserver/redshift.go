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
	local      map[string]bool // schemas that are not external
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
	rows    [][]string
	created time.Time
	polls   int
}

// StartRedshift starts the Data API in a region.
func StartRedshift(t testing.TB, sts *STS, region string, now func() time.Time) *Redshift {
	t.Helper()
	s := &Redshift{now: now, schemas: map[string]Schema{}, statements: map[string]*statement{}, tokens: map[string]request{}, local: map[string]bool{}}
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
	s.local[name] = true
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

func (s *Redshift) submit(at target, text, token string, sent any, run func() ([][]string, string)) Object {
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
	return s.submit(in.target, in.Sql, in.ClientToken, in, func() ([][]string, string) { return s.run(in.Sql, in.Parameters) }), nil
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
	return s.submit(in.target, strings.Join(in.Sqls, ";"), in.ClientToken, in, func() ([][]string, string) {
		before := maps.Clone(s.schemas)
		for _, text := range in.Sqls {
			failure := ""
			if m := externalDDL.FindString(text); m != "" {
				failure = "ERROR: " + strings.ToUpper(strings.Join(strings.Fields(m), " ")) + " cannot run inside a transaction block"
			} else {
				_, failure = s.run(text, nil)
			}
			if failure != "" {
				s.schemas = before // the batch is one transaction
				return nil, failure
			}
		}
		return nil, ""
	}), nil
}

var (
	externalDDL  = regexp.MustCompile(`(?is)^\s*(create|alter|drop)\s+external\s+(schema|table)`)
	createSchema = regexp.MustCompile(`(?is)^\s*create external schema (if not exists )?"((?:[^"]|"")+)" from data catalog database '((?:[^']|'')+)' (?:region '([a-z0-9-]+)' )?iam_role (?:'((?:[^']|'')+)'|(default))\s*$`)
	grantUsage   = regexp.MustCompile(`(?is)^\s*grant usage on schema "((?:[^"]|"")+)" to (?:(role|group) )?"((?:[^"]|"")+)"\s*$`)
	lookUp       = regexp.MustCompile(`(?is)^\s*select databasename, esoptions from svv_external_schemas where schemaname = :schema\s*$`)
)

// run executes a statement. failure is the text of an error.
func (s *Redshift) run(text string, parameters []parameter) (rows [][]string, failure string) {
	if m := lookUp.FindStringSubmatch(text); m != nil {
		i := slices.IndexFunc(parameters, func(p parameter) bool { return p.Name == "schema" })
		if i < 0 {
			return nil, "ERROR: parameter schema is missing"
		}
		if found, ok := s.schemas[parameters[i].Value]; ok {
			options, err := json.Marshal(map[string]string{"IAM_ROLE": found.Role, "REGION": found.Region})
			if err != nil {
				return nil, err.Error()
			}
			rows = append(rows, []string{found.Database, string(options)})
		}
		return rows, ""
	}
	if m := createSchema.FindStringSubmatch(text); m != nil {
		name := strings.ReplaceAll(m[2], `""`, `"`)
		if _, exists := s.schemas[name]; exists || s.local[name] {
			if m[1] == "" {
				return nil, `ERROR: schema "` + name + `" already exists`
			}
			return nil, ""
		}
		role := strings.ReplaceAll(m[5], "''", "'")
		if m[6] != "" {
			role = "default"
		}
		s.schemas[name] = Schema{Database: strings.ReplaceAll(m[3], "''", "'"), Region: m[4], Role: role}
		return nil, ""
	}
	if m := grantUsage.FindStringSubmatch(text); m != nil {
		name := strings.ReplaceAll(m[1], `""`, `"`)
		schema, exists := s.schemas[name]
		if !exists {
			return nil, `ERROR: schema "` + name + `" does not exist`
		}
		if grantee := strings.TrimSpace(strings.ToLower(m[2]) + " " + m[3]); !slices.Contains(schema.Usage, grantee) {
			schema.Usage = append(slices.Clone(schema.Usage), grantee)
		}
		s.schemas[name] = schema
		return nil, ""
	}
	return nil, "ERROR: syntax error at or near \"" + strings.Fields(text + " ?")[0] + "\""
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
		"HasResultSet": st.status == "FINISHED" && lookUp.MatchString(st.text), "ResultRows": len(st.rows), "Duration": 1,
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
	if st.status != "FINISHED" || !lookUp.MatchString(st.text) {
		return nil, &Refusal{http.StatusNotFound, "ResourceNotFoundException", "Query does not have result. Please check query status with DescribeStatement."}
	}
	records := [][]Object{}
	for _, row := range st.rows {
		var fields []Object
		for _, text := range row {
			fields = append(fields, Object{"stringValue": text})
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
