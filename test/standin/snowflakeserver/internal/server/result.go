package server

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/variant"
)

// The types of statements in answers, as the driver tells them apart.
const (
	typeSelect   = 0x1000
	typeInsert   = 0x3100
	typeUpdate   = 0x3200
	typeDelete   = 0x3300
	typeMerge    = 0x3400
	typeCopy     = 0x3600
	typeSession  = 0x4000
	typeTCL      = 0x5000
	typeDDL      = 0x6000
	typeShow     = 0x1000
	typeTransfer = 0x7000
)

// result is the answer to a statement: rows, or a transfer of files.
type result struct {
	kind     int64
	columns  []snowsql.OutColumn
	rows     [][]*string
	transfer map[string]any
}

// status is the result of most statements: one row with a text.
func status(format string, args ...any) *result {
	text := fmt.Sprintf(format, args...)
	return &result{kind: typeDDL, columns: []snowsql.OutColumn{{Name: "status", Type: varchar}}, rows: [][]*string{{&text}}}
}

// counted is the result of DML.
func counted(kind int64, names []string, counts ...int64) *result {
	r := &result{kind: kind, rows: [][]*string{nil}}
	for n, name := range names {
		text := strconv.FormatInt(counts[n], 10)
		r.columns = append(r.columns, snowsql.OutColumn{Name: name, Type: integer})
		r.rows[0] = append(r.rows[0], &text)
	}
	return r
}

// listing is the result of SHOW and of its kind: all columns are texts.
func listing(names []string, rows ...[]string) *result {
	r := &result{kind: typeShow, rows: [][]*string{}}
	for _, name := range names {
		r.columns = append(r.columns, snowsql.OutColumn{Name: name, Type: varchar})
	}
	for _, row := range rows {
		line := make([]*string, len(row))
		for n := range row {
			line[n] = &row[n]
		}
		r.rows = append(r.rows, line)
	}
	return r
}

var (
	varchar = snowsql.Type{Name: "VARCHAR", Length: 16777216}
	integer = snowsql.Type{Name: "NUMBER", Precision: 38}
)

func code(e *snowsql.Error) string { return fmt.Sprintf("%06d", e.Code) }

// rowType describes a column as answers do.
func rowType(c snowsql.OutColumn) map[string]any {
	m := map[string]any{"name": c.Name, "nullable": true, "database": "", "schema": "", "table": ""}
	switch c.Type.Name {
	case "NUMBER":
		m["type"], m["precision"], m["scale"] = "fixed", c.Type.Precision, c.Type.Scale
	case "FLOAT":
		m["type"] = "real"
	case "VARCHAR", "NULL":
		m["type"], m["length"], m["byteLength"] = "text", c.Type.Length, min(c.Type.Length*4, 134217728)
	case "TIME", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		m["type"], m["scale"] = lower(c.Type.Name), c.Type.Scale
	default:
		m["type"] = lower(c.Type.Name)
	}
	return m
}

func (srv *Server) writeResult(w http.ResponseWriter, q *query) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	st := q.session.state()
	if q.err != nil {
		text := code(q.err)
		_ = json.NewEncoder(w).Encode(envelope{Data: map[string]any{"errorCode": text, "sqlState": q.err.SQLState, "queryId": q.id, "internalError": false}, Code: &text, Message: &q.err.Message})
		return
	}
	data := map[string]any{
		"queryId": q.id, "sqlState": "00000", "statementTypeId": q.result.kind, "queryResultFormat": "json", "version": 1, "parameters": srv.parameterList(st),
		"finalDatabaseName": null(st.database), "finalSchemaName": null(st.schema), "finalWarehouseName": null(st.warehouse), "finalRoleName": st.role,
	}
	if q.result.transfer != nil {
		for name, v := range q.result.transfer {
			data[name] = v
		}
		answer(w, data)
		return
	}
	types := make([]any, len(q.result.columns))
	for n, c := range q.result.columns {
		types[n] = rowType(c)
	}
	rows := q.result.rows
	if rows == nil {
		rows = [][]*string{}
	}
	data["rowtype"], data["rowset"], data["total"], data["returned"] = types, rows, len(rows), len(rows)
	answer(w, data)
}

// fetch runs a query of DuckDB and writes its values as answers do.
func (x *execution) fetch(ctx context.Context, r snowsql.Relation) (*result, error) {
	list := make([]string, len(r.Columns))
	for n, c := range r.Columns {
		list[n] = answerSQL("q.c"+strconv.Itoa(n), c.Type)
	}
	rows, err := x.srv.engine.db.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+r.SQL+" AS q")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := &result{kind: typeSelect, columns: r.Columns, rows: [][]*string{}}
	indent, err := strconv.Atoi(x.parameter("JSON_INDENT"))
	if err != nil {
		return nil, err
	}
	values, into := make([]sql.NullString, len(list)), make([]any, len(list))
	for n := range values {
		into[n] = &values[n]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		line := make([]*string, len(values))
		for n, v := range values {
			if v.Valid {
				text := answerText(v.String, r.Columns[n].Type, indent)
				line[n] = &text
			}
		}
		out.rows = append(out.rows, line)
	}
	return out, rows.Err()
}

// answerSQL makes a text of a value in DuckDB.
func answerSQL(c string, t snowsql.Type) string {
	switch t.Name {
	case "DATE":
		return "CAST(date_diff('day', DATE '1970-01-01', " + c + ") AS VARCHAR)"
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		return "CAST(epoch_us(" + c + ") AS VARCHAR)"
	case "BOOLEAN":
		return "CASE WHEN " + c + " THEN '1' WHEN NOT " + c + " THEN '0' END"
	case "BINARY":
		return "hex(" + c + ")"
	}
	return "CAST(" + c + " AS VARCHAR)"
}

func answerText(s string, t snowsql.Type, indent int) string {
	switch t.Name {
	case "VARIANT", "OBJECT", "ARRAY":
		return variant.Indent(s, indent)
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		micros, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return s
		}
		at := time.UnixMicro(micros)
		text := fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond())
		if t.Name == "TIMESTAMP_TZ" {
			text += " 1440"
		}
		return text
	}
	return s
}

// parameterText reads the value of a binding.
func bindingText(b queryBinding) (*string, snowsql.Type, error) {
	types := map[string]snowsql.Type{"TEXT": varchar, "FIXED": integer, "REAL": {Name: "FLOAT"}, "BOOLEAN": {Name: "BOOLEAN"}, "DATE": {Name: "DATE"}, "TIMESTAMP_NTZ": {Name: "TIMESTAMP_NTZ", Scale: 9}, "TIMESTAMP_LTZ": {Name: "TIMESTAMP_LTZ", Scale: 9}, "TIMESTAMP_TZ": {Name: "TIMESTAMP_TZ", Scale: 9}, "BINARY": {Name: "BINARY"}}
	t, known := types[b.Type]
	if !known {
		return nil, t, snowsql.Unsupported("a parameter of type %s", b.Type)
	}
	if string(b.Value) == "null" {
		return nil, t, nil
	}
	var text string
	if err := json.Unmarshal(b.Value, &text); err != nil {
		return nil, t, snowsql.Unsupported("a parameter with several values")
	}
	switch b.Type {
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ":
		nanos, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, t, refuse(100035, "22007", "Timestamp '%s' is not recognized", text)
		}
		text = stamp(time.Unix(0, nanos).UTC(), map[string]string{"TIMESTAMP_NTZ": "ntz", "TIMESTAMP_LTZ": "ltz"}[b.Type])
	case "TIMESTAMP_TZ":
		nanos, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
		if err != nil {
			return nil, t, refuse(100035, "22007", "Timestamp '%s' is not recognized", text)
		}
		text = stamp(time.Unix(0, nanos).UTC(), "tz")
	case "DATE":
		millis, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, t, refuse(100040, "22007", "Date '%s' is not recognized", text)
		}
		text = time.UnixMilli(millis).UTC().Format(time.DateOnly)
	case "BINARY":
		if _, err := hex.DecodeString(text); err != nil {
			return nil, t, refuse(100115, "22000", "The following string is not a legal hex-encoded value: '%s'", text)
		}
	}
	return &text, t, nil
}
