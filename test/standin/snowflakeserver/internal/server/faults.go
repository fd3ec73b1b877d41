package server

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

// Point is where a hold or fault applies: a statement.
type Point struct {
	// Statement matches the text of a statement, without regard to case.
	Statement string `json:"statement"`
	// Nth is the first match that it applies to, from 1; 0: 1.
	Nth int `json:"nth,omitempty"`
	// Times is the number of matches that it applies to; 0: 1, -1: all.
	Times int `json:"times,omitempty"`
	// At is before (default) or after the statement has done its work.
	At string `json:"at,omitempty"`
}

// Fault ends a statement with an error.
type Fault struct {
	Point
	Code     int    `json:"code"`
	SQLState string `json:"sqlstate"`
	Message  string `json:"message"`
}

type hold struct {
	reached, released chan struct{}
}

// faults are the holds and faults that tests have asked for.
type faults struct {
	mu    sync.Mutex
	rules []*rule
	holds map[string]*hold
}

type rule struct {
	point     Point
	statement *regexp.Regexp
	matched   int
	fault     *Fault // nil: hold
	hold      *hold
}

func (f *faults) add(p Point, fault *Fault, h *hold) error {
	re, err := regexp.Compile("(?is)" + p.Statement)
	if err != nil {
		return fmt.Errorf("statement: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{point: p, statement: re, fault: fault, hold: h})
	return nil
}

func (f *faults) newHold(p Point) (string, error) {
	h := &hold{reached: make(chan struct{}), released: make(chan struct{})}
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

// met returns the rules that apply to a statement at a place, and counts them.
func (f *faults) met(statement, at string) (list []*rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		where := r.point.At
		if where == "" {
			where = "before"
		}
		if where != at || !r.statement.MatchString(statement) {
			continue
		}
		r.matched++
		first, times := max(r.point.Nth, 1), max(r.point.Times, 1)
		if r.matched >= first && (r.point.Times < 0 || r.matched < first+times) {
			list = append(list, r)
		}
	}
	return list
}

// meet applies the rules to a statement.
func (f *faults) meet(ctx context.Context, statement, at string) error {
	for _, r := range f.met(statement, at) {
		if r.fault != nil {
			return refuse(r.fault.Code, r.fault.SQLState, "%s", r.fault.Message)
		}
		f.once(r.hold.reached)
		select {
		case <-r.hold.released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// once closes a channel, if it is open.
func (f *faults) once(c chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

func (f *faults) release(h *hold) { f.once(h.released) }
