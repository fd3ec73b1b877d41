package googlesql

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-googlesql"
)

func TestMain(m *testing.M) {
	if err := googlesql.Init(); err != nil {
		fmt.Fprintln(os.Stderr, "start the analyzer:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// statementsVariable names the directory of recorded statements.
const statementsVariable = "PENSTOCK_BIGQUERY_STATEMENTS"

// table is a table of the catalog.
type table struct {
	Path          []string
	Columns       []string // names with their types
	IngestionTime bool     `json:"ingestion_time"`
}

// statement is a line that the stand-in recorded.
type statement struct {
	Text           string
	Type           string
	DefaultDataset string `json:"default_dataset"`
	Parameters     map[string]string
	Variables      map[string]string
	Tables         []table
}

// Statements that the plugin sent to the stand-in are valid for GoogleSQL's analyzer.
func TestRecordedStatements(t *testing.T) {
	dir := os.Getenv(statementsVariable)
	if dir == "" {
		t.Skip("SKIPPED: " + statementsVariable + " names no directory of recorded statements")
	}
	statements, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(statements) == 0 {
		t.Fatalf("%s has no statements", dir)
	}
	judged := 0
	for _, s := range statements {
		if len(s.Variables) > 0 {
			t.Logf("not judged, because it has variables of a script: %s", s.Text)
			continue
		}
		judged++
		s.Tables = append(s.Tables, metadataOf(s.Text)...)
		if err := analyze(s); err != nil {
			t.Errorf("%s\n%v", s.Text, err)
		}
	}
	if judged == 0 {
		t.Errorf("none of %d statements was judged: all have variables", len(statements))
	}
	t.Logf("%d statements judged", judged)
}

var (
	partitionsView = regexp.MustCompile("`([^.`]+)\\.([^.`]+)\\.INFORMATION_SCHEMA\\.PARTITIONS`")
	jobsView       = regexp.MustCompile("`(region-[^.`]+)`\\.INFORMATION_SCHEMA\\.JOBS_BY_PROJECT")
	jobsColumns    = []string{"job_id STRING", "creation_time TIMESTAMP", "total_bytes_billed INT64"}
)

// metadataOf returns the views of metadata that a statement reads. The stand-in records
// tables alone.
func metadataOf(text string) []table {
	var found []table
	for _, m := range partitionsView.FindAllStringSubmatch(text, -1) {
		found = append(found, table{
			Path:    []string{m[1], m[2], "INFORMATION_SCHEMA.PARTITIONS"},
			Columns: []string{"table_name STRING", "partition_id STRING", "total_rows INT64"},
		})
	}
	for _, m := range jobsView.FindAllStringSubmatch(text, -1) {
		found = append(found, table{Path: []string{m[1], "INFORMATION_SCHEMA", "JOBS_BY_PROJECT"}, Columns: jobsColumns})
	}
	return found
}

// read returns the distinct statements of all files of a directory.
func read(dir string) ([]statement, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var list []statement
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			if seen[lines.Text()] {
				continue
			}
			seen[lines.Text()] = true
			var s statement
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			list = append(list, s)
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	return list, nil
}

var (
	events = []string{"device_id STRING", "distinct_id STRING", "event_name STRING", "insert_id STRING", "properties JSON", "time TIMESTAMP", "user_id STRING"}
	tables = []table{
		{Path: []string{"project", "dataset", "mp_master_event"}, Columns: events, IngestionTime: true},
		{Path: []string{"project", "dataset", "mp_people_data_view"}, Columns: []string{"distinct_id STRING", "properties JSON"}},
		{Path: []string{"project", "dataset", "mp_identity_mappings_data_view"}, Columns: []string{"distinct_id STRING", "resolved_distinct_id STRING"}},
		// Those of the guide of the destination.
		{Path: []string{"project", "mixpanel", "mp_master_event"}, Columns: events, IngestionTime: true},
		{Path: []string{"project", "mixpanel", "mp_identity_mappings_data_view"}, Columns: []string{"distinct_id STRING", "resolved_distinct_id STRING"}},
		{Path: []string{"project", "mixpanel", "mp_master_event_resolved"}, Columns: append([]string{"event_date DATE", "resolved_distinct_id STRING"}, events...)},
		{Path: []string{"region-eu", "INFORMATION_SCHEMA", "JOBS_BY_PROJECT"}, Columns: jobsColumns},
	}
)

var documentedQuery = regexp.MustCompile("(?s)```sql bigquery[^\n]*\n(.*?)```")

// The queries of the documentation are valid against the tables of the documentation.
func TestDocumentedQueries(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/destinations/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, page := range append(pages, more...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range documentedQuery.FindAllSubmatch(text, -1) {
			n++
			query := strings.TrimSuffix(strings.TrimSpace(string(q[1])), ";")
			if err := analyze(statement{Text: query, DefaultDataset: "dataset", Tables: tables}); err != nil {
				t.Errorf("%s:\n%s\n%v", filepath.Base(page), query, err)
			}
		}
	}
	if n == 0 {
		t.Fatal("no page has a query for BigQuery")
	}
}

// The judge refuses what it should: else its silence means nothing.
func TestRefusals(t *testing.T) {
	for _, text := range []string{
		"SELECT nope FROM `project.dataset.mp_master_event`",
		"SELECT * FROM project.dataset.nope",
		"SELECT JSON_VALUE(properties, plan) FROM dataset.mp_master_event",
		"INSERT INTO dataset.mp_master_event (device_id) SELECT 1",
		"UPDATE dataset.mp_master_event SET device_id = 'd'",
		"SELECT COUNT(*), device_id FROM dataset.mp_master_event",
		"SELECT FROM",
	} {
		if err := analyze(statement{Text: text, DefaultDataset: "dataset", Tables: tables}); err == nil {
			t.Errorf("%s: it is not refused", text)
		}
	}
}

// analyze returns an error when the analyzer refuses a statement.
func analyze(s statement) error {
	language, err := googlesql.NewLanguageOptions()
	if err != nil {
		return err
	}
	options, err := googlesql.NewAnalyzerOptions2()
	if err != nil {
		return err
	}
	factory, err := googlesql.NewTypeFactory()
	if err != nil {
		return err
	}
	catalog, err := googlesql.NewSimpleCatalog("root", nil)
	if err != nil {
		return err
	}
	if err := errors.Join(
		language.EnableMaximumLanguageFeatures(), language.SetSupportsAllStatementKinds(), language.SetProductMode(googlesql.ProductModeProductExternal),
		options.SetLanguage(language), catalog.AddBuiltinFunctionsAndTypes(&googlesql.BuiltinFunctionOptions{LanguageOptions: language}),
	); err != nil {
		return fmt.Errorf("set up the analyzer: %w", err)
	}
	j := &judge{options: options, factory: factory, catalog: catalog, catalogs: map[string]*googlesql.SimpleCatalog{}}
	if err := j.define(s); err != nil {
		return fmt.Errorf("set up the catalog: %w", err)
	}
	_, err = googlesql.AnalyzeStatement(s.Text, options, catalog, factory)
	return err
}

type judge struct {
	options  *googlesql.AnalyzerOptions
	factory  *googlesql.TypeFactory
	catalog  *googlesql.SimpleCatalog
	catalogs map[string]*googlesql.SimpleCatalog // nested ones, by their paths
}

func (j *judge) define(s statement) error {
	integer, err := j.typeOf("INT64")
	if err != nil {
		return err
	}
	if err := j.options.AddSystemVariable([]string{"row_count"}, integer); err != nil {
		return err
	}
	for name, typ := range s.Parameters {
		t, err := j.typeOf(typ)
		if err == nil && regexp.MustCompile(`^\d+$`).MatchString(name) {
			if err = j.options.SetParameterMode(googlesql.ParameterModeParameterPositional); err == nil {
				err = j.options.AddPositionalQueryParameter(t)
			}
		} else if err == nil {
			err = j.options.AddQueryParameter(name, t)
		}
		if err != nil {
			return err
		}
	}
	for _, t := range s.Tables {
		if err := j.addTable(t, s.DefaultDataset); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) typeOf(name string) (googlesql.Googlesql_TypeNode, error) {
	t, err := googlesql.AnalyzeType(name, j.options, j.catalog, j.factory)
	if err != nil {
		return nil, fmt.Errorf("type %s: %w", name, err)
	}
	return t, nil
}

// addTable adds a table under each spelling of its path: with or without the project,
// and with parts that one pair of backquotes holds.
func (j *judge) addTable(t table, defaultDataset string) error {
	simple, err := googlesql.NewSimpleTable(strings.Join(t.Path, "."), 0)
	if err != nil {
		return err
	}
	columns := slices.Clone(t.Columns)
	if t.IngestionTime {
		columns = append(columns, "_PARTITIONTIME TIMESTAMP", "_PARTITIONDATE DATE")
	}
	for n, text := range columns {
		name, typ, _ := strings.Cut(text, " ")
		of, err := j.typeOf(typ)
		if err != nil {
			return err
		}
		c, err := googlesql.NewSimpleColumn(strings.Join(t.Path, "."), name, of, n >= len(t.Columns), true)
		if err == nil {
			err = simple.AddColumn2(c, false)
		}
		if err != nil {
			return err
		}
	}
	for _, path := range spellings(t.Path, defaultDataset) {
		in, err := j.catalogOf(path[:len(path)-1])
		if err == nil {
			err = in.AddTable2(path[len(path)-1], simple)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func spellings(path []string, defaultDataset string) [][]string {
	if len(path) != 3 {
		return [][]string{path}
	}
	project, dataset, name := path[0], path[1], path[2]
	list := [][]string{
		{project, dataset, name}, {project + "." + dataset, name}, {project, dataset + "." + name}, {project + "." + dataset + "." + name},
		{dataset, name}, {dataset + "." + name},
	}
	if dataset == defaultDataset {
		list = append(list, []string{name})
	}
	return list
}

// catalogOf returns the nested catalog of a path.
func (j *judge) catalogOf(path []string) (*googlesql.SimpleCatalog, error) {
	if len(path) == 0 {
		return j.catalog, nil
	}
	key := strings.Join(path, "/")
	if c := j.catalogs[key]; c != nil {
		return c, nil
	}
	parent, err := j.catalogOf(path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	c, err := googlesql.NewSimpleCatalog(path[len(path)-1], nil)
	if err == nil {
		err = parent.AddCatalog2(path[len(path)-1], c)
	}
	j.catalogs[key] = c
	return c, err
}
