package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/server"
)

// recordedVariable names the directory of recorded answers.
const recordedVariable = "PENSTOCK_BIGQUERY_RECORDED"

// differences are recorded answers that the stand-in gives otherwise, with the reason.
var differences = map[string]string{
	"http/upload_multipart_csv_basic":                 handWritten,
	"http/upload_multipart_csv_with_schema":           handWritten,
	"http/upload_multipart_json_autodetect":           handWritten,
	"http/upload_resumable_single_chunk":              handWritten,
	"http/upload_multipart_json_autodetect_new_table": "the order of detected columns, which the plugin never asks for",
	"http/job_list_in_project":                        "the recorded project had older jobs, and so a second page",
	"sql/information_schema/is_schemata_basic":        lagging,
	"sql/information_schema/is_schemata_with_filter":  lagging,
}

const (
	handWritten = "hand-written, with sourceUris of an upload, which has none"
	lagging     = "BigQuery shows a new dataset in SCHEMATA late"
)

// The stand-in answers requests and scripts as BigQuery did when they were recorded:
// the same status, reason, message, schema and rows. Those that it refuses as unknown
// are listed.
func TestRecordedAnswers(t *testing.T) {
	root := os.Getenv(recordedVariable)
	if root == "" {
		t.Skip("SKIPPED: " + recordedVariable + " names no directory of recorded answers")
	}
	var unknown []string
	same, different := 0, 0
	for _, pattern := range []string{"http/*/expected_response.json", "sql/*/*/expected.json"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files (%v)", pattern, len(files), err)
		}
		for _, file := range files {
			dir := filepath.Dir(file)
			name, _ := filepath.Rel(root, dir)
			t.Run(name, func(t *testing.T) {
				r := newReplay(t, dir)
				err := r.run()
				switch {
				case err == nil && differences[name] != "":
					t.Errorf("it agrees, and is listed as different: %s", differences[name])
				case err == nil:
					same++
				case r.unknown != "":
					unknown = append(unknown, name+": "+r.unknown)
				case differences[name] != "":
					different++
					t.Logf("different: %v (%s)", err, differences[name])
				default:
					different++
					t.Error(err)
				}
			})
		}
	}
	sort.Strings(unknown)
	t.Logf("%d answered alike, %d otherwise, %d not known:\n%s", same, different, len(unknown), strings.Join(unknown, "\n"))
}

// replay is one recorded case.
type replay struct {
	t       *testing.T
	dir     string
	url     string
	values  map[string]string
	unknown string // the refusal of something that the stand-in does not know
}

func newReplay(t *testing.T, dir string) *replay {
	t.Helper()
	s, err := server.New(server.Options{Temp: t.TempDir(), Projects: []string{"your-bigquery-project"}})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		listening.Close()
		_ = s.Close()
	})
	return &replay{t: t, dir: dir, url: listening.URL, values: map[string]string{
		"PROJECT": "your-bigquery-project", "DATASET_ID": "recorded", "DATASET": "your-bigquery-project.recorded",
	}}
}

func (r *replay) file(name string) ([]byte, bool) {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		return nil, false
	}
	return []byte(r.expand(string(data))), true
}

func (r *replay) expand(text string) string {
	for name, value := range r.values {
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return text
}

func (r *replay) run() error {
	if _, err := r.send("POST", "/bigquery/v2/projects/your-bigquery-project/datasets", nil, []byte(`{"datasetReference":{"datasetId":"recorded"}}`)); err != nil {
		return err
	}
	if setup, ok := r.file("setup.sql"); ok {
		answer, err := r.query(string(setup), nil, nil)
		if err != nil {
			return err
		}
		if answer.status != http.StatusOK {
			return fmt.Errorf("setup: %d %s", answer.status, answer.body)
		}
	}
	if strings.Contains(filepath.ToSlash(r.dir), "/http/") {
		return r.http()
	}
	return r.sql()
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (r *replay) send(method, path string, header map[string]string, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if m := unknownRefusal.FindSubmatch(text); m != nil {
		r.unknown = string(m[1])
	}
	return answer{got.StatusCode, got.Header, text}, err
}

var unknownRefusal = regexp.MustCompile(`"message":"((?:Query error: )?(?:the stand-in does not know [^"]*|Function not found: [^"]*))`)

// query runs a script through jobs.insert, and waits for its results.
func (r *replay) query(text string, config map[string]any, parameters []any) (answer, error) {
	query := map[string]any{"query": text, "useLegacySql": false}
	job := map[string]any{"query": query}
	for name, value := range config {
		switch name {
		case "labels":
			job["labels"] = value
		case "dry_run":
			job["dryRun"] = value
		case "job_timeout_ms":
			job["jobTimeoutMs"] = fmt.Sprint(value)
		case "destination", "default_dataset":
			parts := strings.Split(value.(string), ".")
			if name == "destination" {
				query["destinationTable"] = map[string]string{"projectId": parts[0], "datasetId": parts[1], "tableId": parts[2]}
			} else {
				query["defaultDataset"] = map[string]string{"projectId": parts[0], "datasetId": parts[1]}
			}
		case "clustering_fields":
			query["clustering"] = map[string]any{"fields": value}
		case "maximum_bytes_billed":
			query["maximumBytesBilled"] = strconv.FormatFloat(value.(float64), 'f', 0, 64)
		default:
			query[camel(name)] = value
		}
	}
	if len(parameters) > 0 {
		query["queryParameters"] = parameters
	}
	body, err := json.Marshal(map[string]any{"configuration": job})
	if err != nil {
		return answer{}, err
	}
	got, err := r.send("POST", "/bigquery/v2/projects/your-bigquery-project/jobs", nil, body)
	if err != nil || got.status != http.StatusOK || job["dryRun"] == true {
		return r.dryRun(got, job["dryRun"] == true, err)
	}
	var inserted struct {
		JobReference struct{ JobID, Location string }
	}
	if err := json.Unmarshal(got.body, &inserted); err != nil {
		return answer{}, err
	}
	ref := inserted.JobReference
	got, err = r.send("GET", "/bigquery/v2/projects/your-bigquery-project/queries/"+ref.JobID+"?timeoutMs=60000&formatOptions.useInt64Timestamp=true&location="+ref.Location, nil, nil)
	return got, err
}

// dryRun turns the job of a dry run into the answer of a query.
func (r *replay) dryRun(got answer, dry bool, err error) (answer, error) {
	if err != nil || !dry || got.status != http.StatusOK {
		return got, err
	}
	var job struct {
		Status struct {
			ErrorResult *struct{ Reason, Message, Location string }
		}
		Statistics struct {
			Query struct{ Schema json.RawMessage }
		}
	}
	if err := json.Unmarshal(got.body, &job); err != nil {
		return got, err
	}
	if job.Status.ErrorResult != nil {
		return got, fmt.Errorf("a dry run that fails has status 200: %s", got.body)
	}
	if len(job.Statistics.Query.Schema) == 0 {
		got.body = []byte(`{}`)
	} else {
		got.body = []byte(`{"schema":` + string(job.Statistics.Query.Schema) + `}`)
	}
	return got, nil
}

func camel(name string) string {
	parts := strings.Split(name, "_")
	for n := 1; n < len(parts); n++ {
		parts[n] = strings.ToUpper(parts[n][:1]) + parts[n][1:]
	}
	return strings.Join(parts, "")
}

type failedAnswer struct {
	Error struct {
		Code    int
		Message string
		Status  string
		Errors  []struct{ Reason, Location string }
	}
}

type expectation struct {
	Error *struct {
		Reason   string
		Location *string
		Status   int    `json:"http_status"`
		Pattern  string `json:"message_pattern"`
		Sample   string `json:"message_sample"`
	}
	Schema []struct{ Name, Type, Mode string }
	Rows   []map[string]any
}

func (r *replay) sql() error {
	query, _ := r.file("query.sql")
	var config map[string]any
	if text, ok := r.file("job_config.json"); ok {
		if err := json.Unmarshal(text, &config); err != nil {
			return err
		}
	}
	parameters, err := r.parameters()
	if err != nil {
		return err
	}
	text, _ := r.file("expected.json")
	var want expectation
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&want); err != nil {
		return err
	}
	got, err := r.query(string(query), config, parameters)
	if err != nil {
		return err
	}
	if want.Error != nil {
		var failed failedAnswer
		if err := json.Unmarshal(got.body, &failed); err != nil || got.status == http.StatusOK {
			return fmt.Errorf("it is not refused: %d %.300s, want %s", got.status, got.body, want.Error.Sample)
		}
		pattern, err := regexp.Compile(want.Error.Pattern)
		if err != nil {
			return err
		}
		reason := failed.Error.Errors[0].Reason
		if got.status != want.Error.Status || reason != want.Error.Reason || !pattern.MatchString(failed.Error.Message) {
			return fmt.Errorf("refused with %d %s %q, want %d %s %q", got.status, reason, failed.Error.Message, want.Error.Status, want.Error.Reason, want.Error.Sample)
		}
		r.unknown = ""
		return nil
	}
	if got.status != http.StatusOK {
		return fmt.Errorf("refused: %d %.400s", got.status, got.body)
	}
	return compareRows(got.body, want, strings.Contains(strings.ToUpper(string(query)), "ORDER BY"))
}

type field struct {
	Name, Type, Mode string
	Fields           []field
}

func compareRows(body []byte, want expectation, ordered bool) error {
	var got struct {
		Schema struct{ Fields []field }
		Rows   []struct{ F []struct{ V any } }
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return err
	}
	if len(want.Schema) != len(got.Schema.Fields) {
		return fmt.Errorf("schema %v, want %v", got.Schema.Fields, want.Schema)
	}
	for n, f := range want.Schema {
		if g := got.Schema.Fields[n]; g.Name != f.Name || g.Type != f.Type || (g.Mode == "REPEATED") != (f.Mode == "REPEATED") {
			return fmt.Errorf("column %v, want %v", g, f)
		}
	}
	var gotRows, wantRows []string
	for _, row := range got.Rows {
		object := map[string]any{}
		for n, cell := range row.F {
			object[got.Schema.Fields[n].Name] = decodeCell(cell.V, got.Schema.Fields[n])
		}
		gotRows = append(gotRows, line(object))
	}
	for _, row := range want.Rows {
		wantRows = append(wantRows, line(row))
	}
	if !ordered {
		slices.Sort(gotRows)
		slices.Sort(wantRows)
	}
	if !slices.Equal(gotRows, wantRows) {
		return fmt.Errorf("rows %v, want %v", gotRows, wantRows)
	}
	return nil
}

func line(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// decodeCell writes a cell as the recordings have it.
func decodeCell(v any, f field) any {
	if v == nil {
		return nil
	}
	if f.Mode == "REPEATED" {
		element := f
		element.Mode = ""
		out := []any{}
		for _, e := range v.([]any) {
			out = append(out, decodeCell(e.(map[string]any)["v"], element))
		}
		return out
	}
	switch f.Type {
	case "RECORD":
		object := map[string]any{}
		for n, e := range v.(map[string]any)["f"].([]any) {
			object[f.Fields[n].Name] = decodeCell(e.(map[string]any)["v"], f.Fields[n])
		}
		return object
	case "INTEGER", "FLOAT":
		return json.Number(v.(string))
	case "BOOLEAN":
		return v == "true"
	case "TIMESTAMP":
		us, _ := strconv.ParseInt(v.(string), 10, 64)
		return strings.Replace(time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000+00:00"), ".000000", "", 1)
	}
	return v
}

// parameters converts recorded parameters into those of the REST interface.
func (r *replay) parameters() ([]any, error) {
	text, ok := r.file("parameters.json")
	if !ok {
		return nil, nil
	}
	var recorded struct {
		Parameters []struct {
			Name  string
			Type  any
			Value any
		}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&recorded); err != nil {
		return nil, err
	}
	var list []any
	for _, p := range recorded.Parameters {
		typ := p.Type
		if name, ok := typ.(string); ok {
			typ = map[string]any{"type": name}
		}
		list = append(list, map[string]any{
			"name": p.Name, "parameterType": fullType(typ.(map[string]any)), "parameterValue": parameterValue(p.Value, typ.(map[string]any)),
		})
	}
	return list, nil
}

// fullType writes the types of a struct's fields as objects.
func fullType(typ map[string]any) map[string]any {
	fields, ok := typ["structTypes"].([]any)
	if !ok {
		return typ
	}
	var out []any
	for _, f := range fields {
		field := f.(map[string]any)
		t, ok := field["type"].(map[string]any)
		if !ok {
			t = map[string]any{"type": field["type"]}
		}
		out = append(out, map[string]any{"name": field["name"], "type": t})
	}
	return map[string]any{"type": "STRUCT", "structTypes": out}
}

func parameterValue(v any, typ map[string]any) map[string]any {
	switch x := v.(type) {
	case nil:
		return map[string]any{"value": nil}
	case []any:
		out := []any{}
		for _, e := range x {
			out = append(out, parameterValue(e, nil))
		}
		return map[string]any{"arrayValues": out}
	case map[string]any:
		out := map[string]any{}
		for name, e := range x {
			out[name] = parameterValue(e, nil)
		}
		return map[string]any{"structValues": out}
	}
	return map[string]any{"value": fmt.Sprint(v)}
}

type recordedRequest struct {
	Method, Path string
	Headers      map[string]string
	Body         any
	BodyFile     string `json:"body_bin"`
	Capture      map[string]string
	Await        string `json:"await_job"`
}

func (r *replay) perform(q recordedRequest) (answer, error) {
	var body []byte
	if q.BodyFile != "" {
		body, _ = r.file(q.BodyFile)
	} else if q.Body != nil {
		text, err := json.Marshal(q.Body)
		if err != nil {
			return answer{}, err
		}
		body = []byte(r.expand(string(text)))
	}
	got, err := r.send(q.Method, r.expand(q.Path), q.Headers, body)
	if err != nil {
		return got, err
	}
	var object map[string]any
	_ = json.Unmarshal(got.body, &object)
	for name, path := range q.Capture {
		if header, ok := strings.CutPrefix(path, "header:"); ok {
			r.values[name] = got.header.Get(header)
			continue
		}
		var value any = object
		for _, part := range strings.Split(strings.TrimPrefix(path, "body:"), ".") {
			m, _ := value.(map[string]any)
			value = m[part]
		}
		r.values[name] = fmt.Sprint(value)
	}
	if q.Await != "" {
		return got, r.awaitJob(r.values[q.Await])
	}
	return got, nil
}

func (r *replay) awaitJob(id string) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for range 3000 {
		got, err := r.send("GET", "/bigquery/v2/projects/your-bigquery-project/jobs/"+id, nil, nil)
		if err != nil {
			return err
		}
		if bytes.Contains(got.body, []byte(`"DONE"`)) {
			return nil
		}
		<-poll.C
	}
	return fmt.Errorf("job %s does not end", id)
}

func (r *replay) http() error {
	if text, ok := r.file("setup_requests.json"); ok {
		var list []recordedRequest
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		for _, q := range list {
			got, err := r.perform(q)
			if err != nil {
				return err
			}
			if got.status >= 400 {
				return fmt.Errorf("setup request %s %s: %d %s", q.Method, q.Path, got.status, got.body)
			}
		}
	}
	text, _ := r.file("request.json")
	var q recordedRequest
	if err := json.Unmarshal(text, &q); err != nil {
		return err
	}
	got, err := r.perform(q)
	if err != nil {
		return err
	}
	text, _ = r.file("expected_response.json")
	var want struct {
		Status  int `json:"http_status"`
		Headers map[string]string
		Body    any
	}
	if err := json.Unmarshal(text, &want); err != nil {
		return err
	}
	if got.status != want.Status {
		return fmt.Errorf("status %d, want %d: %.300s", got.status, want.Status, got.body)
	}
	for name, value := range want.Headers {
		have := got.header.Get(name)
		if have == "" || value != "<*>" && !strings.HasPrefix(have, value) {
			return fmt.Errorf("header %s is %q, want %q", name, have, value)
		}
	}
	if object, ok := want.Body.(map[string]any); ok {
		var have any
		if err := json.Unmarshal(got.body, &have); err != nil {
			return err
		}
		if err := contains("", have, object); err != nil {
			return err
		}
		if want.Status >= 400 {
			r.unknown = ""
		}
	}
	return nil
}

// contains returns an error for the first difference from the expected value, in which
// "<*>" stands for any value.
func contains(path string, have, want any) error {
	if want == "<*>" {
		if have == nil {
			return fmt.Errorf("%s is missing", path)
		}
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, want an object", path, have)
		}
		for name, value := range w {
			if err := contains(path+"."+name, h[name], value); err != nil {
				return err
			}
		}
		return nil
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return fmt.Errorf("%s is %v, want %v", path, have, want)
		}
		for n := range w {
			if err := contains(fmt.Sprintf("%s[%d]", path, n), h[n], w[n]); err != nil {
				return err
			}
		}
		return nil
	}
	if !reflect.DeepEqual(have, want) {
		return fmt.Errorf("%s is %v, want %v", path, have, want)
	}
	return nil
}
