package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// execution runs the statements of one query job.
type execution struct {
	s      *Server
	job    *job
	script string
	// multi reports whether the job is a script, whose statements are child jobs.
	multi bool
	conn  conn
	tr    *googlesql.Translator
	tx    *transaction
	temp  map[string]*table
	// last is the result of the last statement.
	last *result
	// reads and bytes are the tables of the current statement.
	reads map[*table]bool
	// named are the tables that the current statement names, by their whole names.
	named map[string]*googlesql.Table
	// child is the job of the current statement.
	child *job
	// handlers counts the exception handlers around the current statement.
	handlers int
}

// transaction is an open multi-statement transaction.
type transaction struct {
	id       string
	snapshot int64
	changed  map[*table]bool
	// log are the statements so far. DuckDB gives a transaction up when a statement
	// fails, BigQuery does not when a handler catches the error: they are repeated.
	log []string
}

func newExecution(s *Server, j *job, c conn, script string) *execution {
	x := &execution{s: s, job: j, script: script, conn: c, temp: map[string]*table{}, child: j, reads: map[*table]bool{}, named: map[string]*googlesql.Table{}}
	x.tr = &googlesql.Translator{
		Catalog: x, Script: script, Variables: map[string]googlesql.Value{}, System: map[string]googlesql.Value{}, Parameters: map[string]googlesql.Value{},
	}
	return x
}

// run runs a script to its end.
func (x *execution) run(ctx context.Context, statements []googlesql.Statement) error {
	x.multi = len(statements) > 1 || isProcedural(statements[0].Type)
	err := x.list(ctx, statements)
	if x.tx != nil { // a script that ends without COMMIT rolls back
		err = errors.Join(err, x.rollback(context.WithoutCancel(ctx)))
	}
	for _, t := range x.temp {
		_, failed := x.conn.exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+t.physical)
		err = errors.Join(err, failed)
	}
	return err
}

func isProcedural(kind string) bool {
	switch kind {
	case googlesql.Declare, googlesql.Set, googlesql.If, googlesql.Block, googlesql.Raise, googlesql.Execute, "BEGIN_TRANSACTION", "COMMIT_TRANSACTION", "ROLLBACK_TRANSACTION":
		return true
	}
	return false
}

func (x *execution) list(ctx context.Context, statements []googlesql.Statement) error {
	for _, st := range statements {
		if err := ctx.Err(); err != nil {
			return fail("stopped", "Job execution was cancelled: User requested cancellation")
		}
		if err := x.statement(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

func (x *execution) statement(ctx context.Context, st googlesql.Statement) error {
	switch st.Type {
	case googlesql.Declare:
		return x.declare(ctx, st)
	case googlesql.Set:
		name := st.Names[0]
		old, ok := x.tr.Variables[name]
		if !ok {
			return x.located(&googlesql.Error{Message: "Undeclared variable: " + name, Position: st.Tokens[1].Start}, st)
		}
		v, err := x.evaluate(ctx, st.Condition, old.Type)
		if err != nil {
			return x.located(err, st)
		}
		x.tr.Variables[name] = v
		return nil
	case googlesql.If:
		v, err := x.evaluate(ctx, st.Condition, "BOOL")
		if err != nil {
			return x.located(err, st)
		}
		if v.SQL == trueLiteral {
			return x.list(ctx, st.Then)
		}
		return x.list(ctx, st.Else)
	case googlesql.Block:
		return x.block(ctx, st)
	case googlesql.Raise:
		message := ""
		if st.Condition != nil {
			v, err := x.text(ctx, st.Condition)
			if err != nil {
				return x.located(err, st)
			}
			message = v
		}
		return x.located(fail("invalidQuery", "%s", message), st)
	case googlesql.Execute:
		text, err := x.text(ctx, st.Condition)
		if err != nil {
			return x.located(err, st)
		}
		return x.executeImmediate(ctx, text, st)
	}
	return x.asChild(ctx, st)
}

const trueLiteral = "CAST('true' AS BOOLEAN)"

func (x *execution) declare(ctx context.Context, st googlesql.Statement) error {
	v := googlesql.Value{SQL: "CAST(NULL AS " + googlesql.DuckType(st.VarType) + ")", Type: st.VarType}
	if st.Condition != nil {
		var err error
		if v, err = x.evaluate(ctx, st.Condition, st.VarType); err != nil {
			return x.located(err, st)
		}
	}
	for _, name := range st.Names {
		x.tr.Variables[name] = v
	}
	return nil
}

func (x *execution) block(ctx context.Context, st googlesql.Statement) error {
	outer := make(map[string]googlesql.Value)
	for name, v := range x.tr.Variables {
		outer[name] = v
	}
	if st.Handler {
		x.handlers++
	}
	err := x.list(ctx, st.Then)
	if st.Handler {
		x.handlers--
	}
	for name := range x.tr.Variables {
		if _, ok := outer[name]; !ok {
			delete(x.tr.Variables, name)
		}
	}
	if err == nil || !st.Handler || ctx.Err() != nil {
		return err
	}
	x.tr.System["error.message"] = googlesql.Value{SQL: googlesql.QuoteString(asFailure(err).message), Type: "STRING"}
	defer delete(x.tr.System, "error.message")
	return x.list(ctx, st.Else)
}

func (x *execution) executeImmediate(ctx context.Context, text string, st googlesql.Statement) error {
	statements, err := googlesql.Split(text)
	if err != nil {
		return x.located(err, st)
	}
	if len(statements) != 1 || isProcedural(statements[0].Type) {
		return x.located(fail("invalidQuery", "the stand-in does not know this statement: EXECUTE IMMEDIATE of a script"), st)
	}
	outer := x.script
	x.script, x.tr.Script = text, text
	err = x.asChild(ctx, statements[0])
	x.script, x.tr.Script = outer, outer
	return err
}

// asChild runs a statement, as a child job when the job is a script.
func (x *execution) asChild(ctx context.Context, st googlesql.Statement) (err error) {
	text := x.script[st.Start():st.End()]
	j := x.job
	if x.multi {
		if j, err = x.newChild(st, text); err != nil {
			return err
		}
	}
	x.child = j
	defer func() { x.child = x.job }()
	x.last = nil
	err = x.s.faults.meet(ctx, x.job.id, text, "before")
	if err == nil {
		err = x.simple(ctx, st)
	}
	if err == nil {
		err = x.s.faults.meet(ctx, x.job.id, text, "after")
	} else if x.tx != nil && x.handlers > 0 {
		err = errors.Join(err, x.revive(ctx))
	}
	err = x.located(err, st)
	x.s.record(x.job, st.Type, text, err)
	if err == nil {
		err = x.s.recordText(x, st.Type, text)
	}
	if j != x.job {
		j.finish(x.s.now(), x.last, err)
	}
	return err
}

func (x *execution) newChild(st googlesql.Statement, text string) (*job, error) {
	x.job.mu.Lock()
	n := x.job.children
	x.job.children++
	x.job.mu.Unlock()
	child := &job{
		id: fmt.Sprintf("script_job_%s_%d", etagOf(x.job.project, x.job.location, x.job.id)[:16], n), project: x.job.project, location: x.job.location, parent: x.job,
		user: x.job.user, done: make(chan struct{}), cancel: func() {}, state: "RUNNING", created: x.s.now(), started: x.s.now(),
		config: &bq.JobConfiguration{JobType: "QUERY", Labels: x.job.config.Labels, Query: &bq.JobConfigurationQuery{
			Query: text, UseLegacySql: new(bool), Priority: "INTERACTIVE",
		}},
	}
	child.stats.Query = &bq.JobStatistics2{StatementType: st.Type}
	line, column := googlesql.Locate(x.script, st.Start())
	endLine, endColumn := googlesql.Locate(x.script, st.End())
	child.stats.ScriptStatistics = &bq.ScriptStatistics{EvaluationKind: "STATEMENT", StackFrames: []*bq.ScriptStackFrame{{
		StartLine: int64(line), StartColumn: int64(column), EndLine: int64(endLine), EndColumn: int64(endColumn), Text: text,
	}}}
	if x.tx != nil {
		child.stats.TransactionInfo = &bq.TransactionInfo{TransactionId: x.tx.id}
	}
	return child, x.s.jobs.add(child)
}

// located gives an error the position in the script, as BigQuery writes it.
func (x *execution) located(err error, st googlesql.Statement) error {
	if err == nil {
		return nil
	}
	f := x.s.refusalOf(err)
	if f.placed {
		return f.failure
	}
	out := *f.failure
	if out.reason == "invalidQuery" {
		position := f.position
		if position < 0 && x.multi {
			position = st.Start()
		}
		if position >= 0 {
			line, column := googlesql.Locate(x.script, position)
			out.message += fmt.Sprintf(" at [%d:%d]", line, column)
		}
		if x.multi {
			out.message = "Query error: " + out.message
		}
		out.location = "query"
	}
	return &placed{&out}
}

// placed is a refusal whose message has its position.
type placed struct{ *failure }

func (p *placed) Unwrap() error { return p.failure }

type position struct {
	*failure
	position int
	placed   bool
}

// refusalOf returns the refusal of an error, and its position when known.
func (s *Server) refusalOf(err error) position {
	var p *placed
	if errors.As(err, &p) {
		return position{p.failure, -1, true}
	}
	var e *googlesql.Error
	if errors.As(err, &e) {
		reason := e.Reason
		if reason == "" {
			reason = "invalidQuery"
		}
		return position{fail(reason, "%s", e.Message), e.Position, false}
	}
	return position{asFailure(err), -1, false}
}

// simple runs one statement that is not of the procedural language.
func (x *execution) simple(ctx context.Context, st googlesql.Statement) error {
	clear(x.reads)
	clear(x.named)
	if x.tx == nil {
		x.clock()
	}
	x.child.update(func(*bq.JobStatistics) { x.child.query().StatementType = st.Type })
	switch st.Type {
	case "SELECT":
		return x.selectQuery(ctx, st)
	case "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE":
		return x.mutate(ctx, st)
	case googlesql.Assert:
		v, err := x.evaluate(ctx, st.Condition, "BOOL")
		if err == nil && v.SQL != trueLiteral {
			text := "Assertion failed"
			if st.Text != "" {
				text = st.Text
			}
			err = fail("invalidQuery", "%s", text)
		}
		return err
	case "BEGIN_TRANSACTION":
		return x.begin(ctx)
	case "COMMIT_TRANSACTION":
		if x.tx == nil {
			return fail("invalidQuery", "No active transaction to COMMIT")
		}
		return x.commit(ctx)
	case "ROLLBACK_TRANSACTION":
		if x.tx == nil {
			return fail("invalidQuery", "No active transaction to ROLLBACK")
		}
		return x.rollback(ctx)
	}
	return x.define(ctx, st)
}

// clock sets the value of CURRENT_TIMESTAMP: the start of the statement, in a
// transaction that of the transaction.
func (x *execution) clock() {
	x.tr.System["current_timestamp"] = googlesql.Value{SQL: timestampLiteral(x.s.now()), Type: "TIMESTAMP"}
}

func timestampLiteral(t time.Time) string {
	return "CAST('" + t.UTC().Format("2006-01-02 15:04:05.000000") + "+00' AS TIMESTAMPTZ)"
}

func (x *execution) selectQuery(ctx context.Context, st googlesql.Statement) error {
	query, err := x.tr.Query(st.Tokens)
	if err != nil {
		return err
	}
	columns, err := x.conn.describe(ctx, query)
	if err != nil {
		return err
	}
	if err := x.bill(ctx); err != nil {
		return err
	}
	if x.job.dryRun {
		x.last = &result{schema: schemaOf(columns)}
		return nil
	}
	if to := x.job.config.Query.DestinationTable; to != nil && to.TableId != "" && !x.multi {
		return x.store(ctx, query, columns)
	}
	x.last, err = x.conn.queryAs(ctx, query, columns)
	return err
}

func schemaOf(columns []googlesql.Column) *bq.TableSchema {
	s := &bq.TableSchema{}
	for _, c := range columns {
		if c.Type == "" || c.Type == "NULL" {
			c.Type = "INT64"
		}
		s.Fields = append(s.Fields, fieldOf(c.Name, c.Type))
	}
	return s
}

// minimumBytes is the least that a query is billed per table.
const minimumBytes = 10 << 20

// bill counts the bytes of the tables that a statement reads, and refuses it when
// they are more than the job may be billed.
func (x *execution) bill(ctx context.Context) error {
	var bytes, billed int64
	for t := range x.reads {
		if err := x.s.catalog.measure(ctx, t); err != nil {
			return err
		}
		x.s.catalog.mu.Lock()
		bytes += t.bytes
		billed += max(t.bytes, minimumBytes)
		x.s.catalog.mu.Unlock()
	}
	if limit := x.job.config.Query.MaximumBytesBilled; limit > 0 && billed > limit {
		return fail("bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: %d. %d or higher required.", limit, billed)
	}
	for _, j := range slices.Compact([]*job{x.job, x.child}) {
		j.update(func(s *bq.JobStatistics) {
			q := j.query()
			q.TotalBytesProcessed += bytes
			q.TotalBytesBilled += billed
			s.TotalBytesProcessed += bytes
		})
	}
	return nil
}

// evaluate computes an expression as a literal. The type is that of the expression
// when it is empty.
func (x *execution) evaluate(ctx context.Context, tokens []googlesql.Token, typ string) (googlesql.Value, error) {
	if x.tx == nil {
		x.clock()
	}
	e, err := x.tr.Expression(tokens)
	if err != nil {
		return googlesql.Value{}, err
	}
	if typ == "" {
		columns, err := x.conn.describe(ctx, "SELECT "+e.SQL)
		if err != nil {
			return googlesql.Value{}, err
		}
		if typ = columns[0].Type; typ == "NULL" || typ == "" {
			typ = "INT64"
		}
	}
	var text *string
	if err := x.conn.QueryRowContext(ctx, "SELECT CAST(CAST("+e.SQL+" AS "+googlesql.DuckType(typ)+") AS VARCHAR)").Scan(&text); err != nil {
		return googlesql.Value{}, refusal(err)
	}
	value := googlesql.Value{SQL: "CAST(NULL AS " + googlesql.DuckType(typ) + ")", Type: typ}
	if text != nil {
		value.SQL = "CAST(" + googlesql.QuoteString(*text) + " AS " + googlesql.DuckType(typ) + ")"
	}
	return value, nil
}

func (x *execution) text(ctx context.Context, tokens []googlesql.Token) (string, error) {
	e, err := x.tr.Expression(tokens)
	if err != nil {
		return "", err
	}
	var text *string
	if err := x.conn.QueryRowContext(ctx, "SELECT CAST("+e.SQL+" AS VARCHAR)").Scan(&text); err != nil {
		return "", refusal(err)
	}
	if text == nil {
		return "", fail("invalidQuery", "the text is NULL")
	}
	return *text, nil
}

func (x *execution) begin(ctx context.Context) error {
	if x.tx != nil {
		return fail("invalidQuery", "Transaction is already in progress; nested transactions are not supported")
	}
	x.clock()
	x.tx = &transaction{id: newID(""), snapshot: x.s.mutations.snapshot(), changed: map[*table]bool{}}
	x.child.update(func(s *bq.JobStatistics) { s.TransactionInfo = &bq.TransactionInfo{TransactionId: x.tx.id} })
	return x.open(ctx)
}

// open begins DuckDB's transaction and its snapshot.
func (x *execution) open(ctx context.Context) error {
	if _, err := x.conn.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	_, err := x.conn.exec(ctx, "SELECT count(*) FROM snapshot")
	return err
}

// commit makes the transaction visible, or rolls it back.
func (x *execution) commit(ctx context.Context) error {
	tx := x.tx
	x.tx = nil
	_, err := x.conn.exec(context.WithoutCancel(ctx), "COMMIT")
	x.s.mutations.release(tx, err == nil)
	if err == nil {
		x.s.catalog.touch(tx.changed)
	}
	return err
}

func (x *execution) rollback(ctx context.Context) error {
	tx := x.tx
	x.tx = nil
	_, err := x.conn.exec(ctx, "ROLLBACK")
	x.s.mutations.release(tx, false)
	return err
}

// revive repeats the statements of the transaction after one has failed.
func (x *execution) revive(ctx context.Context) error {
	if _, err := x.conn.exec(ctx, "ROLLBACK"); err != nil {
		return err
	}
	if err := x.open(ctx); err != nil {
		return err
	}
	for _, text := range x.tx.log {
		if _, err := x.conn.exec(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// mutate runs a statement of DML.
func (x *execution) mutate(ctx context.Context, st googlesql.Statement) error {
	if err := x.s.billing(); err != nil {
		return err
	}
	var m googlesql.Mutation
	var err error
	switch st.Type {
	case "INSERT":
		m, err = x.tr.Insert(st.Tokens)
	case "UPDATE":
		m, err = x.tr.Update(st.Tokens)
	case "DELETE":
		m, err = x.tr.Delete(st.Tokens)
	case "MERGE":
		m, err = x.tr.Merge(st.Tokens)
	default:
		m, err = x.tr.Truncate(st.Tokens)
	}
	if err != nil {
		return err
	}
	t, err := x.find(m.Path, m.Position)
	if err != nil {
		return err
	}
	if err := x.s.allow(x.job.user, "bigquery.tables.updateData", t.dataset, t.reference()); err != nil {
		return err
	}
	if st.Type == "INSERT" {
		delete(x.reads, t)
		m.SQL = x.insertion(t, m)
	}
	if st.Type == "TRUNCATE_TABLE" {
		clear(x.reads)
	}
	if err := x.bill(ctx); err != nil {
		return err
	}
	if x.job.dryRun {
		x.last = &result{schema: t.meta.Schema}
		return nil
	}
	if err := x.claim(ctx, st, t); err != nil {
		return err
	}
	rows, err := x.change(ctx, t, m)
	if x.tx == nil {
		x.s.mutations.release(x, err == nil)
	}
	if err != nil {
		return err
	}
	x.affected(st.Type, rows)
	return nil
}

// claim takes the table for a statement that updates or deletes rows.
func (x *execution) claim(ctx context.Context, st googlesql.Statement, t *table) error {
	if st.Type == "INSERT" || x.temp[t.meta.TableReference.TableId] == t {
		return nil
	}
	if x.tx == nil {
		return x.s.mutations.wait(ctx, x, t, x.s.quota(queuedDML))
	}
	if !x.s.mutations.claim(x.tx, x.tx.snapshot, t.physical) {
		return fail("invalidQuery", "Transaction is aborted due to concurrent update against table %s. Transaction ID: %s", t.reference(), x.tx.id)
	}
	return nil
}

func (x *execution) insertion(t *table, m googlesql.Mutation) string {
	columns, values := make([]string, len(m.Columns)), make([]string, len(m.Columns))
	names := make([]string, len(m.Columns))
	partition := false
	for n, c := range m.Columns {
		columns[n], names[n] = googlesql.QuoteName(c.Name), "c"+strconv.Itoa(n)
		if values[n] = names[n]; c.Name == googlesql.Partition && t.ingestionTime() {
			values[n], partition = "bq_partition("+names[n]+")", true
		}
	}
	if t.ingestionTime() && !partition {
		columns = append(columns, googlesql.QuoteName(googlesql.Partition))
		values = append(values, timestampLiteral(x.s.now().UTC().Truncate(24*time.Hour)))
	}
	return "INSERT INTO " + t.physical + " (" + strings.Join(columns, ", ") + ") SELECT " + strings.Join(values, ", ") +
		" FROM (" + m.Query + ") AS q(" + strings.Join(names, ", ") + ")"
}

// change runs the translated statement.
func (x *execution) change(ctx context.Context, t *table, m googlesql.Mutation) (int64, error) {
	if m.Check != "" {
		many, err := x.conn.query(ctx, m.Check)
		if err != nil {
			return 0, err
		}
		if len(many.rows) > 0 {
			return 0, fail("invalidQuery", "UPDATE/MERGE must match at most one source row for each target row")
		}
	}
	rows, err := x.conn.exec(ctx, m.SQL)
	if err != nil {
		return 0, err
	}
	if x.tx == nil {
		x.s.catalog.touch(map[*table]bool{t: true})
		return rows, nil
	}
	x.tx.log = append(x.tx.log, m.SQL)
	x.tx.changed[t] = true
	return rows, nil
}

func (x *execution) affected(kind string, rows int64) {
	x.tr.System["row_count"] = googlesql.Value{SQL: "CAST(" + strconv.FormatInt(rows, 10) + " AS BIGINT)", Type: "INT64"}
	x.child.update(func(*bq.JobStatistics) {
		q := x.child.query()
		q.NumDmlAffectedRows = rows
		q.ForceSendFields = []string{"NumDmlAffectedRows"}
		q.DmlStats = &bq.DmlStatistics{}
		switch kind {
		case "INSERT":
			q.DmlStats.InsertedRowCount = rows
		case "UPDATE":
			q.DmlStats.UpdatedRowCount = rows
		case "DELETE", "TRUNCATE_TABLE":
			q.DmlStats.DeletedRowCount = rows
		default:
			q.DmlStats = nil
		}
	})
}

// touch counts changes of tables' rows.
func (c *catalog) touch(tables map[*table]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range tables {
		t.changes++
		t.modified = c.now()
	}
}
