package intake

import (
	"context"
	"sync"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/collector"
)

// refusedByCollector puts records that a collector refuses into quarantine.
// Those of requests that come at the same time are written together.
type refusedByCollector struct {
	store    *quarantine.Store
	source   string
	projects func() []*config.Project // the present ones
	commit   lifecycle.Gate           // held while a batch is written

	mu   sync.Mutex
	next *refusedBatch // the batch that waits
}

type refusedBatch struct {
	entries []quarantine.Entry
	done    bool
	err     error
}

// Reject implements collector.Rejects.
func (r *refusedByCollector) Reject(ctx context.Context, records []collector.Reject) error {
	b := r.join(records)
	// A batch may be written by another request, whatever becomes of this one.
	leave, err := r.commit.Enter(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer leave()
	if !b.done {
		r.mu.Lock()
		r.next = nil
		r.mu.Unlock()
		b.err, b.done = r.store.Append(r.source, b.entries), true
	}
	return b.err
}

// join adds records to the batch that waits. Their bytes stay the caller's.
func (r *refusedByCollector) join(records []collector.Reject) *refusedBatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &refusedBatch{}
	}
	for _, x := range records {
		r.next.entries = append(r.next.entries, quarantine.Entry{
			Position: r.position(x), Reason: string(x.Reason), Detail: x.Detail, Bytes: x.Record,
		})
	}
	return r.next
}

const forProject = " for project "

// position is the endpoint and the project that a record was sent to.
func (r *refusedByCollector) position(x collector.Reject) string {
	for _, p := range r.projects() {
		if p.ID == x.Project {
			return "/" + x.Endpoint + forProject + p.Name
		}
	}
	return "/" + x.Endpoint
}
