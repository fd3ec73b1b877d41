package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status string `json:"status"` // ok, or not ok
	// Checks are the conditions of /readyz; missing without the token.
	Checks []operation.Readiness `json:"checks,omitempty"`
}

// serveHealth tells that the process answers.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, Health{Status: "ok"})
}

// Limits of a look at the conditions of /readyz: how long it may take, and how long its
// result is kept, since clients without the token may ask, too.
const (
	readyTime = 10 * time.Second
	readyKept = time.Second
)

// probes answers /readyz. It may be used concurrently.
type probes struct {
	ready func(context.Context) []operation.Readiness
	now   func() time.Time
	until context.Context // ends when the host stops

	looking chan struct{} // full while the conditions are looked at; guards last
	last    *readiness    // nil: they were not looked at yet
}

// readiness are the conditions at a time.
type readiness struct {
	at     time.Time
	checks []operation.Readiness
}

// serve tells whether the host works as it should. named lists the conditions.
func (p *probes) serve(w http.ResponseWriter, named bool) {
	health, status := Health{Status: "ok"}, http.StatusOK
	checks := p.conditions()
	for _, c := range checks {
		if !c.Ready {
			health.Status, status = "not ok", http.StatusServiceUnavailable
		}
	}
	if named {
		health.Checks = checks
	}
	answer(w, status, health)
}

// conditions returns the conditions as they were at most a second ago.
func (p *probes) conditions() []operation.Readiness {
	ctx, cancel := context.WithTimeout(p.until, readyTime)
	defer cancel()
	select {
	case p.looking <- struct{}{}:
		defer func() { <-p.looking }()
	case <-ctx.Done():
		return []operation.Readiness{{Check: "host", Reason: "it is stopping, or did not look at its parts in time"}}
	}
	if now := p.now(); p.last == nil || now.Before(p.last.at) || now.Sub(p.last.at) >= readyKept {
		p.last = &readiness{at: now, checks: p.ready(ctx)}
	}
	return p.last.checks
}
