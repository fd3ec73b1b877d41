package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// execution is one statement that runs, or the reading of a view for one. It implements
// snowsql.Catalog.
type execution struct {
	srv     *Server
	session *session
	query   *query
	role    string
	tx      *transaction
	depth   int // of views
}

// run runs a statement of a session when those before it have ended.
func (srv *Server) run(ctx context.Context, q *query) (*result, error) {
	s := q.session
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.busy }()
	previous := s.lastStatement()
	s.touch(q.id)
	defer s.touch("")
	if err := srv.faults.meet(ctx, q.text, "before"); err != nil {
		return nil, err
	}
	x := &execution{srv: srv, session: s, query: q, role: s.state().role, tx: s.transaction()}
	r, err := x.timed(ctx, previous)
	if err == nil {
		err = srv.faults.meet(ctx, q.text, "after")
	}
	if err != nil {
		x.failed()
		return nil, err
	}
	return r, nil
}

// timed applies STATEMENT_TIMEOUT_IN_SECONDS
// (https://docs.snowflake.com/en/sql-reference/parameters).
func (x *execution) timed(ctx context.Context, previous string) (*result, error) {
	limit, err := strconv.Atoi(x.parameter("STATEMENT_TIMEOUT_IN_SECONDS"))
	if err != nil {
		return nil, err
	}
	inner, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		inner, cancel = context.WithTimeout(ctx, time.Duration(limit)*time.Second)
	}
	defer cancel()
	r, err := x.statement(inner, previous)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return nil, refuse(630, "57014", "Statement reached its statement or warehouse timeout of %d second(s) and was canceled.", limit)
	}
	return r, err
}

// failed ends the statement's own transaction, and marks an explicit one when
// TRANSACTION_ABORT_ON_ERROR is set. Otherwise the explicit one stays open
// (https://docs.snowflake.com/en/sql-reference/transactions).
func (x *execution) failed() {
	if tx := x.session.transaction(); tx != nil && x.parameter("TRANSACTION_ABORT_ON_ERROR") == "true" {
		tx.aborted = true
	}
}

func (x *execution) statement(ctx context.Context, previous string) (*result, error) {
	if n, ok := x.query.body.Parameters["MULTI_STATEMENT_COUNT"].(json.Number); ok && n.String() != "1" {
		return nil, snowsql.Unsupported("several statements in a request")
	}
	if x.query.body.BindStage != "" {
		return nil, snowsql.Unsupported("parameters in a stage")
	}
	parsed, err := snowsql.Parse(x.query.text)
	if err != nil {
		return nil, err
	}
	if x.tx != nil && x.tx.aborted {
		switch parsed.(type) {
		case *snowsql.Commit, *snowsql.Rollback:
		default:
			return nil, refuse(90244, "25P02", "Current transaction is aborted. Commands ignored until end of transaction block.")
		}
	}
	if needsWarehouse(parsed) {
		if err := x.warehouse(); err != nil {
			return nil, err
		}
	}
	x.srv.queries.previous(x.session, previous)
	return x.dispatch(ctx, parsed)
}

// previous keeps the id that LAST_QUERY_ID answers.
func (qs *queries) previous(s *session, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastText = id
}

// needsWarehouse reports whether a statement runs in a warehouse.
func needsWarehouse(parsed snowsql.Statement) bool {
	switch s := parsed.(type) {
	case *snowsql.QueryStatement:
		return s.Query.Select == nil || len(s.Query.Select.From) > 0
	case *snowsql.CopyInto, *snowsql.Insert, *snowsql.Update, *snowsql.Delete, *snowsql.Merge:
		return true
	case *snowsql.CreateTable:
		return s.As != nil
	}
	return false
}

// warehouse checks and resumes the warehouse of the session.
func (x *execution) warehouse() error {
	name := x.session.state().warehouse
	if name == "" {
		return refuse(606, "57P03", "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.")
	}
	full := fullName(name)
	usable := x.may("USAGE", "WAREHOUSE", full)
	operable := usable || x.may("OPERATE", "WAREHOUSE", full)
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	w := x.srv.account.warehouses[name]
	switch {
	case w == nil || !operable:
		return refuse(606, "57P03", "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.")
	case w.monitor != "":
		return refuse(90073, "22000", "Warehouse '%s' cannot be resumed because resource monitor '%s' has exceeded its quota.", name, w.monitor)
	case w.suspended && !w.autoResume:
		return refuse(90232, "57P03", "Warehouse '%s' is suspended. Use 'alter warehouse %s resume;' command if you need to use it again.", name, name)
	}
	w.suspended = false
	return nil
}

func (x *execution) dispatch(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	switch s := parsed.(type) {
	case *snowsql.QueryStatement:
		t := snowsql.Translator{Catalog: x}
		r, err := t.Query(s.Query)
		if err != nil {
			return nil, err
		}
		if x.query.body.DescribeOnly {
			return &result{kind: typeSelect, columns: r.Columns}, nil
		}
		return x.fetch(ctx, r)
	case *snowsql.Begin, *snowsql.Commit, *snowsql.Rollback:
		return x.control(ctx, parsed)
	case *snowsql.Insert, *snowsql.Update, *snowsql.Delete, *snowsql.Truncate, *snowsql.CopyInto, *snowsql.Merge:
		return x.change(ctx, parsed)
	case *snowsql.Put, *snowsql.Get, *snowsql.List, *snowsql.Remove:
		return x.files(ctx, parsed)
	case *snowsql.Use:
		return x.use(s)
	case *snowsql.Show:
		return x.show(s)
	case *snowsql.Describe:
		return x.describe(s)
	case *snowsql.Alter:
		if s.Kind == "SESSION" {
			return status("Statement executed successfully."), x.alterSession(s)
		}
	}
	if err := x.commitForDDL(); err != nil {
		return nil, err
	}
	return x.define(ctx, parsed)
}

// control begins and ends transactions. BEGIN in a transaction does nothing
// (https://docs.snowflake.com/en/sql-reference/transactions).
func (x *execution) control(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	done := status("Statement executed successfully.")
	done.kind = typeTCL
	switch parsed.(type) {
	case *snowsql.Begin:
		if x.tx != nil {
			return done, nil
		}
		tx, err := x.srv.transactions.begin(ctx, x.session, false)
		if err != nil {
			return nil, err
		}
		x.session.setTransaction(tx)
		return done, nil
	case *snowsql.Commit:
		return done, x.end(x.tx != nil && !x.tx.aborted)
	}
	return done, x.end(false)
}

// end commits or rolls back the transaction of the session.
func (x *execution) end(commit bool) error {
	tx := x.tx
	if tx == nil {
		return nil
	}
	x.session.setTransaction(nil)
	x.tx = nil
	if commit {
		return x.srv.transactions.commit(tx)
	}
	return x.srv.transactions.rollback(tx)
}

// commitForDDL commits the open transaction: DDL runs in one of its own
// (https://docs.snowflake.com/en/sql-reference/transactions).
func (x *execution) commitForDDL() error { return x.end(true) }

// change runs DML. When no transaction is open the statement has one of its own; without
// AUTOCOMMIT the transaction stays open, as after BEGIN
// (https://docs.snowflake.com/en/sql-reference/transactions).
func (x *execution) change(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	own := false
	if x.tx == nil {
		own = x.parameter("AUTOCOMMIT") == "true"
		tx, err := x.srv.transactions.begin(ctx, x.session, own)
		if err != nil {
			return nil, err
		}
		x.tx = tx
		if !own {
			x.session.setTransaction(tx)
		}
	}
	r, err := x.dml(ctx, parsed)
	if !own {
		return r, err
	}
	tx := x.tx
	x.tx = nil
	if err != nil {
		if e := x.srv.transactions.rollback(tx); e != nil {
			return nil, fmt.Errorf("%w; and the rollback failed: %w", err, e)
		}
		return nil, err
	}
	return r, x.srv.transactions.commit(tx)
}

func (x *execution) use(u *snowsql.Use) (*result, error) {
	name := u.Name[len(u.Name)-1]
	done := status("Statement executed successfully.")
	done.kind = typeSession
	switch u.Kind {
	case "SECONDARY ROLES":
		return done, nil
	case "DATABASE":
		if _, err := x.findDatabase(name); err != nil {
			return nil, refuse(2043, "02000", "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
		}
		x.session.change(func(st *state) { st.database, st.schema = name, "PUBLIC" })
	case "SCHEMA":
		s, err := x.findSchema(u.Name)
		if err != nil {
			return nil, refuse(2043, "02000", "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
		}
		x.session.change(func(st *state) { st.database, st.schema = s.database.name, s.name })
	case "WAREHOUSE":
		x.srv.account.mu.Lock()
		w := x.srv.account.warehouses[name]
		x.srv.account.mu.Unlock()
		if w == nil || !x.sees("WAREHOUSE", fullName(name)) {
			return nil, refuse(2043, "02000", "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
		}
		x.session.change(func(st *state) { st.warehouse = name })
	case "ROLE":
		st := x.session.state()
		x.srv.account.mu.Lock()
		r, owner := x.srv.account.roles[name], x.srv.account.users[st.user]
		has := name == "PUBLIC"
		if owner != nil {
			for granted := range owner.roles {
				has = has || x.srv.account.rolesOf(granted)[name]
			}
		}
		x.srv.account.mu.Unlock()
		if r == nil {
			return nil, refuse(2043, "02000", "SQL compilation error:\nObject does not exist, or operation cannot be performed.")
		}
		if !has {
			return nil, refuse(3001, "42501", "SQL access control error:\nRequested role '%s' is not assigned to the executing user. Specify another role to activate.", name)
		}
		x.session.change(func(st *state) { st.role = name })
	}
	return done, nil
}

// Bind implements snowsql.Catalog.
func (x *execution) Bind(n int) (*string, snowsql.Type, error) {
	b, ok := x.query.body.Bindings[strconv.Itoa(n)]
	if !ok {
		return nil, snowsql.Type{}, refuse(2049, "42601", "SQL compilation error:\nBind variable ? not set.")
	}
	return bindingText(b)
}

// TimeZone implements snowsql.Catalog.
func (x *execution) TimeZone() string { return x.parameter("TIMEZONE") }

// Value implements snowsql.Catalog.
func (x *execution) Value(function string, args []string) (*string, snowsql.Type, error) {
	st := x.session.state()
	text := func(s string) (*string, snowsql.Type, error) {
		if s == "" {
			return nil, varchar, nil
		}
		return &s, varchar, nil
	}
	switch function {
	case "CURRENT_TIMESTAMP":
		now := stamp(x.srv.now().UTC(), "tz")
		return &now, snowsql.Type{Name: "TIMESTAMP_TZ", Scale: 9}, nil
	case "CURRENT_ROLE":
		return text(st.role)
	case "CURRENT_USER":
		return text(st.user)
	case "CURRENT_ACCOUNT", "CURRENT_ACCOUNT_NAME":
		return text(strings.ToUpper(x.srv.account.name))
	case "CURRENT_ORGANIZATION_NAME":
		return text("STANDIN")
	case "CURRENT_DATABASE":
		return text(st.database)
	case "CURRENT_SCHEMA":
		return text(st.schema)
	case "CURRENT_WAREHOUSE":
		return text(st.warehouse)
	case "CURRENT_REGION":
		return text("AWS_US_WEST_2")
	case "CURRENT_VERSION":
		return text("9.34.0")
	case "CURRENT_SESSION":
		return text(strconv.FormatInt(x.session.id, 10))
	case "CURRENT_IP_ADDRESS":
		return text("127.0.0.1")
	case "CURRENT_STATEMENT":
		return text(x.query.text)
	case "CURRENT_TRANSACTION":
		if tx := x.session.transaction(); tx != nil {
			return text(strconv.FormatInt(tx.id, 10))
		}
		return text("")
	case "LAST_QUERY_ID":
		if len(args) > 0 && args[0] != "-1" {
			return nil, varchar, snowsql.Unsupported("LAST_QUERY_ID(%s)", args[0])
		}
		x.session.mu.Lock()
		last := x.session.lastText
		x.session.mu.Unlock()
		return text(last)
	case "IS_ROLE_IN_SESSION":
		x.srv.account.mu.Lock()
		has := len(args) == 1 && x.srv.account.rolesOf(st.role)[args[0]]
		x.srv.account.mu.Unlock()
		v := strconv.FormatBool(has)
		return &v, snowsql.Type{Name: "BOOLEAN"}, nil
	case "CURRENT_AVAILABLE_ROLES":
		return x.availableRoles(st)
	}
	return x.system(function, args)
}

func (x *execution) availableRoles(st state) (*string, snowsql.Type, error) {
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	all := map[string]bool{"PUBLIC": true}
	if u := x.srv.account.users[st.user]; u != nil {
		for granted := range u.roles {
			for name := range x.srv.account.rolesOf(granted) {
				all[name] = true
			}
		}
	}
	list, err := json.Marshal(sortedKeys(all))
	text := string(list)
	return &text, varchar, err
}

// system answers SYSTEM$ functions.
func (x *execution) system(function string, args []string) (*string, snowsql.Type, error) {
	switch function {
	case "SYSTEM$GET_LOGIN_FAILURE_DETAILS":
		if x.role != "ACCOUNTADMIN" {
			return nil, varchar, insufficient("account", strings.ToUpper(x.srv.account.name))
		}
		x.srv.failuresMu.Lock()
		details, ok := x.srv.failures[strings.Join(args, "")]
		x.srv.failuresMu.Unlock()
		if !ok {
			return nil, varchar, nil
		}
		return &details, varchar, nil
	case "SYSTEM$TYPEOF":
		return nil, varchar, snowsql.Unsupported("%s", function)
	case "SYSTEM$CLUSTERING_INFORMATION":
		return x.clusteringInformation(args)
	case "SYSTEM$CANCEL_QUERY":
		return x.cancelQuery(args)
	case "SYSTEM$ABORT_TRANSACTION":
		return x.abortTransaction(args)
	}
	return nil, varchar, snowsql.UnknownFunction(function)
}

func (x *execution) cancelQuery(args []string) (*string, snowsql.Type, error) {
	q := x.srv.queries.find(strings.Join(args, ""))
	text := "Identified SQL statement is not currently executing."
	if q != nil && q.session.state().user == x.session.state().user {
		select {
		case <-q.done:
		default:
			q.cancel()
			text = "query [" + q.id + "] terminated."
		}
	}
	return &text, varchar, nil
}

func (x *execution) abortTransaction(args []string) (*string, snowsql.Type, error) {
	for _, s := range x.srv.sessions.list() {
		tx := s.transaction()
		if tx == nil || strconv.FormatInt(tx.id, 10) != strings.Join(args, "") || s.state().user != x.session.state().user && x.role != "ACCOUNTADMIN" {
			continue
		}
		if s == x.session {
			return nil, varchar, snowsql.Unsupported("SYSTEM$ABORT_TRANSACTION of the own transaction")
		}
		if s.abandon(tx) {
			text := "Transaction " + args[0] + " aborted"
			return &text, varchar, x.srv.transactions.rollback(tx)
		}
	}
	return nil, varchar, refuse(90213, "22000", "Transaction %s is not running.", strings.Join(args, ""))
}

func (x *execution) clusteringInformation(args []string) (*string, snowsql.Type, error) {
	if len(args) == 0 {
		return nil, varchar, refuse(938, "22023", "not enough arguments for function [SYSTEM$CLUSTERING_INFORMATION], expected 1, got 0")
	}
	t, err := x.findTable(strings.Split(args[0], "."), "SELECT")
	if err != nil {
		return nil, varchar, err
	}
	if t.cluster == "" {
		return nil, varchar, refuse(2228, "22000", "Invalid clustering keys or table %s is not clustered", t.name)
	}
	text := fmt.Sprintf(`{"cluster_by_keys" : %q}`, t.cluster)
	return &text, varchar, nil
}
