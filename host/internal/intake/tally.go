package intake

import (
	"context"
	"sort"
	"sync"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// tally counts the records of a source since the host started, also those of readings that
// are under way. The zero value is ready. It may be used concurrently.
type tally struct {
	mu                sync.Mutex
	accepted, refused int64                         // of readings that have ended
	reading           map[*ingest.Counters]struct{} // those that have not
}

// begin counts a reading until end is called.
func (t *tally) begin(c *ingest.Counters) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reading == nil {
		t.reading = map[*ingest.Counters]struct{}{}
	}
	t.reading[c] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.reading, c)
		t.accepted, t.refused = t.accepted+c.Rows.Load(), t.refused+c.Refused.Load()
	}
}

// records returns the counts by outcome.
func (t *tally) records() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	accepted, refused := t.accepted, t.refused
	for c := range t.reading {
		accepted, refused = accepted+c.Rows.Load(), refused+c.Refused.Load()
	}
	return map[string]int64{"accepted": accepted, "refused": refused}
}

// Measure returns the numbers of all sources, and of collectors that are not configured and
// whose logs hold rows that are not in their journals.
func Measure(ctx context.Context, s *Set) ([]operation.SourceMeasure, error) {
	counts, err := s.o.Quarantine.Counts()
	if err != nil {
		return nil, err
	}
	var all []operation.SourceMeasure
	for _, x := range s.now.Load().withLeaving() {
		m := operation.SourceMeasure{Source: x.Name(), Quarantined: totals(counts[x.Name()])}
		switch x := x.(type) {
		case *Files:
			m.Records = x.tally.records()
		case *Mixpanel:
			m.Records = x.tally.records()
		case *Collector:
			c, err := x.describe(ctx)
			if err != nil {
				return nil, err
			}
			m.Collector, m.Records = &c, map[string]int64{}
			for _, r := range c.Records {
				m.Records[r.Outcome] += r.Records
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// refusedCounts counts refused records by reason.
type refusedCounts struct {
	mu     sync.Mutex
	counts map[schema.Reason]int64
}

func (r *refusedCounts) add(reason schema.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
}

func (r *refusedCounts) list(source string) []operation.QuarantineCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []operation.QuarantineCount
	for reason, n := range r.counts {
		list = append(list, operation.QuarantineCount{Source: source, Reason: string(reason), Count: n})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Reason < list[j].Reason })
	return list
}
