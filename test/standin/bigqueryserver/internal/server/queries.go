package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// settleTime is how long jobs.insert waits for a job that is about to end.
const settleTime = 50 * time.Millisecond

// settle waits a moment, so that most jobs are done in the first answer.
func (q *request) settle(j *job) { q.await(j, settleTime) }

// await waits until the job is done, at most for d.
func (q *request) await(j *job, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	case <-q.r.Context().Done():
	}
}

// checkLoad refuses a load job that cannot be started.
func (q *request) checkLoad(in *bq.Job) error {
	if in.Configuration == nil || in.Configuration.Load == nil {
		return fail("invalid", "Required parameter is missing: configuration.load")
	}
	l := in.Configuration.Load
	if l.DestinationTable == nil || l.DestinationTable.TableId == "" {
		return fail("required", "Required parameter is missing: destinationTable")
	}
	switch l.SourceFormat {
	case "", "CSV", "NEWLINE_DELIMITED_JSON":
	case "AVRO", "PARQUET", "ORC", "DATASTORE_BACKUP":
		return fail("notImplemented", "the stand-in does not know loads of %s", l.SourceFormat)
	default:
		return fail("badRequest", "Invalid value at 'configuration.load.source_format': %s", l.SourceFormat)
	}
	return nil
}

// createLoad creates the job of a load.
func (q *request) createLoad(in *bq.Job) (*job, error) {
	if err := q.s.allowProject(q.user, "bigquery.jobs.create", q.path("project")); err != nil {
		return nil, err
	}
	ref := in.JobReference
	if ref == nil {
		ref = &bq.JobReference{}
	}
	to := in.Configuration.Load.DestinationTable
	if to.ProjectId == "" {
		to.ProjectId = q.path("project")
	}
	location := ref.Location
	if location == "" {
		location = q.s.datasetLocation(to.ProjectId, to.DatasetId)
	}
	config := in.Configuration
	config.JobType = "LOAD"
	return q.s.newJob(q.path("project"), location, ref.JobId, q.user, config)
}

func (s *Server) datasetLocation(project, id string) string {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	if d := s.catalog.datasets[key(project, id)]; d != nil {
		return d.meta.Location
	}
	return "US"
}

func (q *request) insertJob() error {
	var in bq.Job
	body, err := q.body(&in)
	if err != nil {
		return err
	}
	if in.Configuration != nil && in.Configuration.Query != nil {
		var raw struct {
			Configuration struct {
				Query struct{ QueryParameters []rawParameter }
			}
		}
		if err := json.Unmarshal(body, &raw); err != nil {
			return fail("parseError", "Parse Error: %v", err)
		}
		markNulls(in.Configuration.Query.QueryParameters, raw.Configuration.Query.QueryParameters)
	}
	if in.Configuration == nil {
		return fail("required", "Required parameter is missing: configuration")
	}
	switch c := in.Configuration; {
	case c.Load != nil:
		return q.insertLoad(&in)
	case c.Query != nil:
		j, err := q.createQuery(&in)
		if err != nil {
			return err
		}
		if j.dryRun { // a dry run is carried out by the request
			<-j.done
			if _, failure, _ := j.outcome(); failure != nil {
				failure.location = "q"
				return failure
			}
		}
		q.settle(j)
		return q.answer(j.resource(q.self))
	case c.Copy != nil || c.Extract != nil:
		return fail("notImplemented", "the stand-in does not know jobs that copy or extract")
	}
	return fail("required", "Required parameter is missing: the configuration has no job")
}

func (q *request) insertLoad(in *bq.Job) error {
	if err := q.checkLoad(in); err != nil {
		return err
	}
	if len(in.Configuration.Load.SourceUris) == 0 {
		return fail("invalid", "Load configuration must specify at least one source URI")
	}
	j, err := q.createLoad(in)
	if err != nil {
		return err
	}
	q.s.start(j, func(ctx context.Context) (*result, error) { return nil, q.s.load(ctx, j, "") })
	q.settle(j)
	return q.answer(j.resource(q.self))
}

// createQuery creates and starts the job of a query.
func (q *request) createQuery(in *bq.Job) (*job, error) {
	project := q.path("project")
	if err := q.s.allowProject(q.user, "bigquery.jobs.create", project); err != nil {
		return nil, err
	}
	config := in.Configuration
	query := config.Query
	if query.Query == "" {
		return nil, fail("required", "Required parameter is missing: query")
	}
	if query.CreateSession || len(query.ConnectionProperties) > 0 || query.UserDefinedFunctionResources != nil || query.TableDefinitions != nil {
		return nil, fail("notImplemented", "the stand-in does not know sessions, connection properties, functions of a job and external tables")
	}
	if query.UseLegacySql == nil || *query.UseLegacySql {
		return nil, fail("invalidQuery", "the stand-in does not know legacy SQL")
	}
	config.JobType = "QUERY"
	if query.Priority == "" {
		query.Priority = "INTERACTIVE"
	}
	if query.DefaultDataset != nil && query.DefaultDataset.ProjectId == "" {
		query.DefaultDataset.ProjectId = project
	}
	ref := in.JobReference
	if ref == nil {
		ref = &bq.JobReference{}
	}
	location := ref.Location
	if location == "" {
		location = q.s.queryLocation(project, query)
	}
	j, err := q.s.newJob(project, location, ref.JobId, q.user, config)
	if err != nil {
		return nil, err
	}
	q.s.start(j, func(ctx context.Context) (*result, error) { return q.s.execute(ctx, j) })
	return j, nil
}

// queryLocation returns the location of the first dataset that a query names.
func (s *Server) queryLocation(project string, query *bq.JobConfigurationQuery) string {
	if d := query.DestinationTable; d != nil && d.DatasetId != "" {
		return s.datasetLocation(project, d.DatasetId)
	}
	if d := query.DefaultDataset; d != nil && d.DatasetId != "" {
		return s.datasetLocation(d.ProjectId, d.DatasetId)
	}
	tokens, err := googlesql.Lex(query.Query)
	if err != nil {
		return "US"
	}
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	for n, t := range tokens {
		if t.Kind != googlesql.Ident && t.Kind != googlesql.Quoted {
			continue
		}
		parts := strings.Split(t.Text, ".")
		if t.Kind == googlesql.Ident && !(n+1 < len(tokens) && tokens[n+1].Is(".")) {
			continue
		}
		for _, p := range parts {
			if d := s.catalog.datasets[key(project, p)]; d != nil {
				return d.meta.Location
			}
		}
	}
	return "US"
}

// execute runs the job of a query.
func (s *Server) execute(ctx context.Context, j *job) (*result, error) {
	if err := s.faults.meet(ctx, j.id, "", "before"); err != nil {
		return nil, err
	}
	c, err := s.engine.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	query := j.config.Query
	x := newExecution(s, j, c, query.Query)
	statements, err := googlesql.Split(query.Query)
	if err != nil {
		return nil, x.located(err, googlesql.Statement{})
	}
	for _, p := range query.QueryParameters {
		v, err := parameter(p)
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(p.Name)
		if name == "" {
			name = strconv.Itoa(len(x.tr.Parameters) + 1)
		}
		x.tr.Parameters[name] = v
	}
	if len(statements) > 1 || isProcedural(statements[0].Type) {
		if query.DestinationTable != nil && query.DestinationTable.TableId != "" {
			return nil, fail("invalid", "configuration.query.destinationTable cannot be set for scripts")
		}
		j.update(func(*bq.JobStatistics) { j.query().StatementType = "SCRIPT" })
	}
	if err := x.run(ctx, statements); err != nil {
		return nil, err
	}
	j.update(func(*bq.JobStatistics) {
		if x.last != nil {
			j.query().Schema = x.last.schema
		}
	})
	return x.last, s.faults.meet(ctx, j.id, "", "after")
}

// rawParameter tells a parameter that is null from an empty text, which the client's
// type does not.
type rawParameter struct {
	ParameterValue struct{ Value *string }
}

func markNulls(parameters []*bq.QueryParameter, raw []rawParameter) {
	for n, p := range parameters {
		if raw[n].ParameterValue.Value == nil && p.ParameterValue != nil && p.ParameterValue.ArrayValues == nil && p.ParameterValue.StructValues == nil {
			p.ParameterValue = nil
		}
	}
}

// body reads the body into a value, and returns it.
func (q *request) body(into any) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(q.r.Body, 20<<20))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return nil, fail("parseError", "Parse Error: %v", err)
	}
	return text, nil
}

// parameter converts a query parameter.
func parameter(p *bq.QueryParameter) (googlesql.Value, error) {
	typ, err := parameterType(p.ParameterType)
	if err != nil {
		return googlesql.Value{}, err
	}
	sql, err := parameterSQL(p.ParameterType, p.ParameterValue)
	return googlesql.Value{SQL: sql, Type: typ}, err
}

func parameterType(t *bq.QueryParameterType) (string, error) {
	if t == nil {
		return "", fail("invalid", "Query parameter without a type")
	}
	switch t.Type {
	case "ARRAY":
		element, err := parameterType(t.ArrayType)
		return "ARRAY<" + element + ">", err
	case "STRUCT":
		var fields []string
		for _, f := range t.StructTypes {
			typ, err := parameterType(f.Type)
			if err != nil {
				return "", err
			}
			fields = append(fields, f.Name+" "+typ)
		}
		return "STRUCT<" + strings.Join(fields, ", ") + ">", nil
	}
	typ := sqlNames[strings.ToUpper(t.Type)]
	if typ == "" {
		return "", fail("invalid", "Invalid value for type: %s is not a valid value", t.Type)
	}
	return typ, nil
}

func parameterSQL(t *bq.QueryParameterType, v *bq.QueryParameterValue) (string, error) {
	typ, err := parameterType(t)
	if err != nil {
		return "", err
	}
	null := "CAST(NULL AS " + googlesql.DuckType(typ) + ")"
	switch {
	case v == nil:
		return null, nil
	case t.Type == "ARRAY":
		var list []string
		for _, e := range v.ArrayValues {
			sql, err := parameterSQL(t.ArrayType, e)
			if err != nil {
				return "", err
			}
			list = append(list, sql)
		}
		return "CAST([" + strings.Join(list, ", ") + "] AS " + googlesql.DuckType(typ) + ")", nil
	case t.Type == "STRUCT":
		var list []string
		for _, f := range t.StructTypes {
			value := v.StructValues[f.Name]
			sql, err := parameterSQL(f.Type, &value)
			if err != nil {
				return "", err
			}
			list = append(list, googlesql.QuoteName(f.Name)+" := "+sql)
		}
		return "struct_pack(" + strings.Join(list, ", ") + ")", nil
	case v.Value == "" && typ != "STRING" && typ != "BYTES":
		return null, nil
	}
	if typ == "BYTES" {
		return "from_base64(" + googlesql.QuoteString(v.Value) + ")", nil
	}
	return "CAST(" + googlesql.QuoteString(v.Value) + " AS " + googlesql.DuckType(typ) + ")", nil
}

// runQuery is jobs.query.
func (q *request) runQuery() error {
	var in bq.QueryRequest
	body, err := q.body(&in)
	if err != nil {
		return err
	}
	var raw struct {
		QueryParameters []rawParameter
		MaxResults      *int64
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return fail("parseError", "Parse Error: %v", err)
	}
	markNulls(in.QueryParameters, raw.QueryParameters)
	job := &bq.Job{
		JobReference: &bq.JobReference{Location: in.Location},
		Configuration: &bq.JobConfiguration{
			DryRun: in.DryRun, Labels: in.Labels,
			Query: &bq.JobConfigurationQuery{
				Query: in.Query, DefaultDataset: in.DefaultDataset, UseLegacySql: in.UseLegacySql, QueryParameters: in.QueryParameters, ParameterMode: in.ParameterMode,
				MaximumBytesBilled: in.MaximumBytesBilled, ConnectionProperties: in.ConnectionProperties, CreateSession: in.CreateSession, UseQueryCache: in.UseQueryCache,
			},
		},
	}
	j, err := q.createQuery(job)
	if err != nil {
		return err
	}
	timeout := in.TimeoutMs
	if timeout == 0 {
		timeout = 10000
	}
	q.await(j, time.Duration(timeout)*time.Millisecond)
	size := -1
	if raw.MaxResults != nil {
		size = int(*raw.MaxResults)
	}
	return q.answerResults(j, "bigquery#queryResponse", 0, size, in.FormatOptions != nil && in.FormatOptions.UseInt64Timestamp)
}

// getResults is jobs.getQueryResults.
func (q *request) getResults() error {
	query := q.r.URL.Query()
	j, err := q.s.jobs.find(q.path("project"), query.Get("location"), q.path("job"))
	if err != nil {
		return err
	}
	if j.config.Query == nil {
		return fail("invalid", "Cannot get query results of a job that is not a query: %s", j.id)
	}
	timeout, size, from := int64(10000), int64(-1), int64(0)
	for name, into := range map[string]*int64{"timeoutMs": &timeout, "maxResults": &size, "startIndex": &from} {
		if text := query.Get(name); text != "" {
			if *into, err = strconv.ParseInt(text, 10, 64); err != nil {
				return fail("invalid", "Invalid value for %s: %s", name, text)
			}
		}
	}
	if token := query.Get("pageToken"); token != "" {
		if from, err = strconv.ParseInt(strings.TrimPrefix(token, "page"), 10, 64); err != nil {
			return fail("invalid", "Invalid page token: %s", token)
		}
	}
	q.await(j, time.Duration(timeout)*time.Millisecond)
	return q.answerResults(j, "bigquery#getQueryResultsResponse", int(from), int(size), query.Get("formatOptions.useInt64Timestamp") == "true")
}

func (q *request) answerResults(j *job, kind string, from, size int, int64Timestamps bool) error {
	r, failure, done := j.outcome()
	if failure != nil {
		return failure
	}
	job := j.resource(q.self)
	out := map[string]any{"kind": kind, "jobReference": job.JobReference, "jobComplete": done}
	if j.dryRun {
		out["jobReference"] = map[string]string{"projectId": j.project, "location": j.location}
	}
	if kind == "bigquery#getQueryResultsResponse" {
		out["etag"] = job.Etag
	} else {
		out["jobCreationReason"] = map[string]string{"code": "REQUESTED"}
		out["location"] = j.location
		out["creationTime"] = strconv.FormatInt(job.Statistics.CreationTime, 10)
		out["startTime"] = strconv.FormatInt(job.Statistics.StartTime, 10)
		out["queryId"] = j.id
		out["endTime"] = strconv.FormatInt(job.Statistics.EndTime, 10)
	}
	if !done {
		return q.answer(out)
	}
	stats := job.Statistics.Query
	if stats == nil {
		stats = &bq.JobStatistics2{}
	}
	out["cacheHit"], out["totalBytesProcessed"] = false, strconv.FormatInt(stats.TotalBytesProcessed, 10)
	if kind == "bigquery#queryResponse" {
		out["totalBytesBilled"] = strconv.FormatInt(stats.TotalBytesBilled, 10)
	}
	if stats.DmlStats != nil || stats.NumDmlAffectedRows > 0 {
		out["numDmlAffectedRows"] = strconv.FormatInt(stats.NumDmlAffectedRows, 10)
		out["dmlStats"] = stats.DmlStats
	}
	if r == nil {
		out["totalRows"] = "0"
		if stats.StatementType != "SELECT" {
			out["schema"] = map[string]any{}
		}
		return q.answer(out)
	}
	out["schema"] = r.schema
	if j.dryRun {
		return q.answer(out)
	}
	if from > len(r.rows) {
		from = len(r.rows)
	}
	end := len(r.rows)
	if size >= 0 {
		end = min(from+size, end)
	}
	out["totalRows"] = strconv.Itoa(len(r.rows))
	if end < len(r.rows) {
		out["pageToken"] = "page" + strconv.Itoa(end)
	}
	if rows := format(r, from, end, int64Timestamps); len(rows) > 0 {
		out["rows"] = rows
	}
	return q.answer(out)
}

func (q *request) rows(r *result, from, to int) []any {
	return format(r, from, to, q.r.URL.Query().Get("formatOptions.useInt64Timestamp") == "true")
}

// format writes rows as the REST interface has them.
func format(r *result, from, to int, int64Timestamps bool) []any {
	rows := make([]any, 0, to-from)
	for _, values := range r.rows[from:to] {
		fields := make([]any, len(values))
		for n, v := range values {
			fields[n] = map[string]any{"v": timestamps64(v, int64Timestamps)}
		}
		rows = append(rows, map[string]any{"f": fields})
	}
	return rows
}

// timestamps64 writes the times within a value.
func timestamps64(v any, whole bool) any {
	switch x := v.(type) {
	case time.Time:
		if whole {
			return strconv.FormatInt(x.UnixMicro(), 10)
		}
		return strings.Replace(strconv.FormatFloat(float64(x.UnixMicro())/1e6, 'E', -1, 64), "E+0", "E", 1)
	case []any:
		out := make([]any, len(x))
		for n, e := range x {
			out[n] = timestamps64(e, whole)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = timestamps64(e, whole)
		}
		return out
	}
	return v
}

func (q *request) getJob() error {
	j, err := q.s.jobs.find(q.path("project"), q.r.URL.Query().Get("location"), q.path("job"))
	if err != nil {
		return err
	}
	return q.answer(j.resource(q.self))
}

func (q *request) listJobs() error {
	query := q.r.URL.Query()
	parent := query.Get("parentJobId")
	states := query["stateFilter"]
	oldest, _ := strconv.ParseInt(query.Get("minCreationTime"), 10, 64)
	newest, _ := strconv.ParseInt(query.Get("maxCreationTime"), 10, 64)
	list := &bq.JobList{Kind: "bigquery#jobList"}
	for _, j := range slices.Backward(q.s.jobs.list()) {
		r := j.resource(q.self)
		mine := query.Get("allUsers") == "true" || j.user == q.user
		switch {
		case j.project != q.path("project") || j.isDeleted() || !mine:
			continue
		case parent == "" && j.parent != nil || parent != "" && (j.parent == nil || j.parent.id != parent):
			continue
		case len(states) > 0 && !slices.ContainsFunc(states, func(s string) bool { return strings.EqualFold(s, r.Status.State) }):
			continue
		case oldest > 0 && r.Statistics.CreationTime < oldest || newest > 0 && r.Statistics.CreationTime > newest:
			continue
		}
		list.Jobs = append(list.Jobs, &bq.JobListJobs{
			Kind: r.Kind, Id: r.Id, JobReference: r.JobReference, State: r.Status.State, ErrorResult: r.Status.ErrorResult, Statistics: r.Statistics,
			Configuration: r.Configuration, Status: r.Status, UserEmail: r.UserEmail, PrincipalSubject: r.PrincipalSubject,
		})
	}
	from, to, next, err := q.page(len(list.Jobs), 50)
	if err != nil {
		return err
	}
	list.Jobs, list.NextPageToken, list.Etag = list.Jobs[from:to], next, etagOf(len(list.Jobs))
	return q.answer(list)
}

func (q *request) cancelJob() error {
	j, err := q.s.jobs.find(q.path("project"), q.r.URL.Query().Get("location"), q.path("job"))
	if err != nil {
		return err
	}
	j.cancel()
	return q.answer(&bq.JobCancelResponse{Kind: "bigquery#jobCancelResponse", Job: j.resource(q.self)})
}

func (q *request) deleteJob() error {
	j, err := q.s.jobs.find(q.path("project"), q.r.URL.Query().Get("location"), q.path("job"))
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != "DONE" {
		return fmt.Errorf("%w", fail("invalid", "Cannot delete a job that is running: %s", j.id))
	}
	j.deleted = true
	return q.answer(struct{}{})
}
