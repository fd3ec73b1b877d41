package server

import (
	"context"
	"regexp"
	"strconv"
	"sync"
)

// Point is where a hold or fault applies: a statement of a job, or the job.
type Point struct {
	// Statement matches the text of a statement; empty: the whole job.
	Statement string `json:"statement,omitempty"`
	// Job matches the id of the job; of its parent for statements of a script.
	Job string `json:"job,omitempty"`
	// Nth is the first match that it applies to, from 1; 0: 1.
	Nth int `json:"nth,omitempty"`
	// Times is the number of matches that it applies to; 0: 1, -1: all.
	Times int `json:"times,omitempty"`
	// At is before (default) or after the statement or job has done its work.
	At string `json:"at,omitempty"`
}

// Fault ends a job with an error.
type Fault struct {
	Point
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type hold struct {
	Point
	reached, released chan struct{}
}

// faults are the holds and faults that tests have asked for.
type faults struct {
	mu    sync.Mutex
	rules []*rule
	holds map[string]*hold
}

type rule struct {
	point          Point
	statement, job *regexp.Regexp
	matched        int
	fault          *Fault // nil: hold
	hold           *hold
}

func (f *faults) add(p Point, fault *Fault, h *hold) error {
	r := &rule{point: p, fault: fault, hold: h}
	var err error
	if r.statement, err = regexp.Compile("(?is)" + p.Statement); err != nil {
		return fail("invalid", "statement: %v", err)
	}
	if r.job, err = regexp.Compile(p.Job); err != nil {
		return fail("invalid", "job: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
	return nil
}

func (f *faults) newHold(p Point) (string, error) {
	h := &hold{Point: p, reached: make(chan struct{}), released: make(chan struct{})}
	if err := f.add(p, nil, h); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := strconv.Itoa(len(f.holds) + 1)
	f.holds[id] = h
	return id, nil
}

func (f *faults) find(id string) *hold {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holds[id]
}

// meet applies the rules to a job, or to a statement of it.
func (f *faults) meet(ctx context.Context, job, statement, at string) error {
	var met []*rule
	f.mu.Lock()
	for _, r := range f.rules {
		where := r.point.At
		if where == "" {
			where = "before"
		}
		if where != at || (statement == "") != (r.point.Statement == "") || !r.job.MatchString(job) || !r.statement.MatchString(statement) {
			continue
		}
		r.matched++
		first, times := max(r.point.Nth, 1), max(r.point.Times, 1)
		if r.matched >= first && (r.point.Times < 0 || r.matched < first+times) {
			met = append(met, r)
		}
	}
	f.mu.Unlock()
	for _, r := range met {
		if r.fault != nil {
			return fail(r.fault.Reason, "%s", r.fault.Message)
		}
		f.reach(r.hold)
		select {
		case <-r.hold.released:
		case <-ctx.Done():
			return fail("stopped", "Job execution was cancelled: User requested cancellation")
		}
	}
	return nil
}

func (f *faults) reach(h *hold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
}

func (f *faults) release(h *hold) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-h.released:
	default:
		close(h.released)
	}
}
