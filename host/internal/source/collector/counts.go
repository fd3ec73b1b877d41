package collector

import (
	"cmp"
	"slices"
	"sync"
)

// Outcomes of records, in addition to the reasons why they are refused.
const (
	Accepted = "accepted" // rows of them are in the log
	Repaired = "repaired" // of those accepted: U+FFFD replaces surrogates that have no partner
	Ignored  = "ignored"  // the client asked for it
	Links    = "links"    // identity links that link something, in addition to rows of events
	Grouped  = "groups"   // operations on group profiles: valid, and in no stream
	// InvalidLink are events of identity management without the ids that they
	// need: the events are kept, and do not link.
	InvalidLink = "invalid_link"
)

// Count is how many records had an outcome.
type Count struct {
	Project  int64  // 0: not known
	Endpoint string // "track", "import", "engage" or "groups"
	Outcome  string // one of the above, or a reason
	Records  int64
}

type countKey struct {
	project           int64
	endpoint, outcome string
}

// RequestCount is how many requests had an answer.
type RequestCount struct {
	Endpoint string // as of Count, or "other" for paths that are not served
	Status   int    // of HTTP
	Reason   string // why they were refused as a whole; "": they were not
	Requests int64
}

type requestKey struct {
	endpoint string
	status   int
	reason   string
}

type counts struct {
	mu       sync.Mutex
	records  map[countKey]int64
	requests map[requestKey]int64
}

func (c *counts) answered(endpoint string, status int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[requestKey]int64{}
	}
	c.requests[requestKey{endpoint, status, reason}]++
}

func (c *counts) add(tally []Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records = map[countKey]int64{}
	}
	for _, t := range tally {
		c.records[countKey{t.Project, t.Endpoint, t.Outcome}] += t.Records
	}
}

// Counts lists the outcomes of all records since the collector began, sorted.
// Records of requests that were not answered with success are counted when
// they were refused, not when they were accepted.
func (c *Collector) Counts() []Count {
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	all := make([]Count, 0, len(c.counts.records))
	for k, n := range c.counts.records {
		all = append(all, Count{k.project, k.endpoint, k.outcome, n})
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// Requests lists the answers to requests since the collector began, sorted.
func (c *Collector) Requests() []RequestCount {
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	all := make([]RequestCount, 0, len(c.counts.requests))
	for k, n := range c.counts.requests {
		all = append(all, RequestCount{k.endpoint, k.status, k.reason, n})
	}
	slices.SortFunc(all, func(a, b RequestCount) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
