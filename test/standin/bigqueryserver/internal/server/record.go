package server

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// Statement is a line of the record: a statement that was carried out, with all that
// an analyzer of GoogleSQL needs to judge it.
type Statement struct {
	Text           string            `json:"text"`
	Type           string            `json:"type"`
	DefaultDataset string            `json:"default_dataset,omitempty"`
	Parameters     map[string]string `json:"parameters,omitempty"` // types by names
	Variables      map[string]string `json:"variables,omitempty"`
	Tables         []RecordedTable   `json:"tables,omitempty"`
}

// RecordedTable is a table or view that a statement names.
type RecordedTable struct {
	Path          []string `json:"path"`    // project, dataset and table, or a temporary table
	Columns       []string `json:"columns"` // names with their types
	IngestionTime bool     `json:"ingestion_time,omitempty"`
}

// recordText appends a statement to the record, once.
func (s *Server) recordText(x *execution, kind, text string) error {
	if s.options.Record == "" {
		return nil
	}
	r := Statement{Text: text, Type: kind, Parameters: typesOf(x.tr.Parameters), Variables: typesOf(x.tr.Variables)}
	if d := x.job.config.Query.DefaultDataset; d != nil {
		r.DefaultDataset = d.DatasetId
	}
	for name, t := range x.named {
		table := RecordedTable{Path: strings.Split(name, "."), IngestionTime: t.IngestionTime}
		for _, c := range t.Columns {
			table.Columns = append(table.Columns, c.Name+" "+c.Type)
		}
		r.Tables = append(r.Tables, table)
	}
	slices.SortFunc(r.Tables, func(a, b RecordedTable) int { return slices.Compare(a.Path, b.Path) })
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	if s.seen[string(line)] {
		return nil
	}
	s.seen[string(line)] = true
	f, err := os.OpenFile(s.options.Record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record a statement: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("record a statement: %w", err)
	}
	return nil
}

func typesOf(values map[string]googlesql.Value) map[string]string {
	types := map[string]string{}
	for name, v := range values {
		types[name] = v.Type
	}
	return types
}
