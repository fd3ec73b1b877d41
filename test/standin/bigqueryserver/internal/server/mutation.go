package server

import (
	"context"
	"sync"
)

// maxQueued is the number of mutating DML statements that may wait for one table
// (https://docs.cloud.google.com/bigquery/quotas#data-manipulation-language-statements).
const maxQueued = 20

// mutations decides which statements conflict: only those that update or delete rows
// of the same table, whole tables at a time
// (https://docs.cloud.google.com/bigquery/docs/transactions#transaction_concurrency).
// INSERT, loads that append and reads never conflict.
type mutations struct {
	mu     sync.Mutex
	commit int64                // counts commits of mutations
	tables map[string]*mutation // by physical table
	freed  chan struct{}        // closed and replaced when a table is freed
}

// mutation is the state of one table.
type mutation struct {
	owner  any   // the transaction or statement that mutates the table; nil: none
	last   int64 // the commit that mutated the table last
	queued int
}

func newMutations() *mutations {
	return &mutations{tables: map[string]*mutation{}, freed: make(chan struct{})}
}

// snapshot returns the commit that a transaction begins after.
func (m *mutations) snapshot() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit
}

func (m *mutations) of(physical string) *mutation {
	if m.tables[physical] == nil {
		m.tables[physical] = &mutation{}
	}
	return m.tables[physical]
}

// claim reports whether a transaction may mutate a table. A transaction never waits.
func (m *mutations) claim(owner any, snapshot int64, physical string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.of(physical)
	if t.owner == owner {
		return true
	}
	if t.owner != nil || t.last > snapshot {
		return false
	}
	t.owner = owner
	return true
}

// wait claims a table for a statement outside of a transaction, when the table is
// free.
func (m *mutations) wait(ctx context.Context, owner any, t *table, limit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.of(t.physical)
	if state.owner != nil && state.queued >= int(limit) {
		return fail("resourcesExceeded", "Resources exceeded during query execution: Too many DML statements outstanding against table %s, limit is %d.", t.reference(), limit)
	}
	state.queued++
	defer func() { state.queued-- }()
	for state.owner != nil {
		freed := m.freed
		m.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		m.mu.Lock()
		if ctx.Err() != nil {
			return fail("stopped", "Job execution was cancelled: User requested cancellation")
		}
	}
	state.owner = owner
	return nil
}

// release frees the tables of an owner.
func (m *mutations) release(owner any, committed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := false
	for _, t := range m.tables {
		if t.owner == owner {
			if t.owner = nil; committed && !held {
				m.commit++
			}
			held = true
			if committed {
				t.last = m.commit
			}
		}
	}
	if held {
		close(m.freed)
		m.freed = make(chan struct{})
	}
}
