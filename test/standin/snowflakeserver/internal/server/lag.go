package server

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// lag keeps commits from the queries of other sessions, as the service can for a while
// where READ_CONSISTENCY_MODE is SESSION, the default
// (https://docs.snowflake.com/en/sql-reference/transactions). A session that takes a lock
// sees all commits before: this is an inference from the documentation.
type lag struct {
	mu    sync.Mutex
	on    bool
	late  []lateCommit
	known map[int64]int // of late, that sessions see
}

type lateCommit struct{ tx, session int64 }

// set begins or ends the lag. Sessions see all commits when it ends.
func (l *lag) set(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on, l.late, l.known = on, nil, map[int64]int{}
}

// commit notes a commit, and reports whether other sessions may not see it.
func (l *lag) commit(tx *transaction) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.late = append(l.late, lateCommit{tx.id, tx.session.id})
	}
	return l.on
}

// catchUp lets a session see all commits before.
func (l *lag) catchUp(session int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.known[session] = len(l.late)
	}
}

// hidden lists the transactions that a session does not see, for a condition; empty: it
// sees all.
func (l *lag) hidden(session int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, c := range l.late[l.known[session]:] {
		if c.session != session {
			ids = append(ids, strconv.FormatInt(c.tx, 10))
		}
	}
	return strings.Join(ids, ", ")
}

// readable is the condition of rows that a query of the execution sees.
func (x *execution) readable(alias string) string {
	hidden := ""
	if lower(x.srv.parameter(state{}, "READ_CONSISTENCY_MODE")) != "global" {
		hidden = x.srv.transactions.lag.hidden(x.session.id)
	}
	if hidden == "" {
		return visible(alias, x.tx)
	}
	id := int64(0)
	if x.tx != nil {
		id = x.tx.id
	}
	return fmt.Sprintf("(%[1]s.x_min = %[2]d OR %[1]s.x_min NOT IN (SELECT id FROM open_tx) AND %[1]s.x_min NOT IN (%[3]s))"+
		" AND (%[1]s.x_max = 0 OR %[1]s.x_max <> %[2]d AND (%[1]s.x_max IN (SELECT id FROM open_tx) OR %[1]s.x_max IN (%[3]s)))", alias, id, hidden)
}
