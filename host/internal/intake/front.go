package intake

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/listen"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/collector"
)

// presence is the part of a collector that its start and reloads replace. It may be used
// concurrently.
type presence struct {
	mu     sync.Mutex
	config *config.Collector // nil: it has no block
	now    *collecting       // nil: the log is not open
	front                    // zero: it takes no requests yet
	shut   bool              // it takes no requests any more, and no port
}

// front is the part of a collector that clients see.
type front struct {
	handler *collector.Collector
	port    *port // a reload replaces it; nil: another collector has it now
	// answered returns when the requests have ended that came over a port that another
	// collector has now; nil: there was none.
	answered func(context.Context) error
}

// port is an address that is listened on. A reload may give it to another collector.
type port struct {
	address string // as it is configured
	server  *listen.Server
}

// current returns the collector's open log; nil: it is not open.
func (p *presence) current() *collecting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// block returns the present block; nil: there is none.
func (p *presence) block() *config.Collector {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config
}

// projectBlocks returns the projects that are collected for.
func (p *presence) projectBlocks() []*config.Project {
	if b := p.block(); b != nil {
		return b.Projects
	}
	return nil
}

// take makes a log and a front the present ones.
func (p *presence) take(l *collecting, f front) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.front = l, f
}

// shown returns the present log and front.
func (p *presence) shown() (*collecting, front) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.front
}

// become takes over another block, with settings that were checked, and its port. It
// reports whether the port was taken: a host that stops may have shut the collector since
// the change was prepared, and nothing would close the port. Requests that have begun are
// answered as before.
func (p *presence) become(b *config.Collector, s collector.Settings, at *port) (taken bool) {
	if err := p.handler.Set(s); err != nil {
		panic("intake: settings that were checked are refused: " + err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = b
	if p.shut {
		return false
	}
	p.port = at
	return true
}

// shutFront returns the front, which gets no other port from then on.
func (p *presence) shutFront() front {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	return p.front
}

// giveUp leaves a port to another collector. answered returns when the requests have ended
// that came over it.
func (p *presence) giveUp(at *port, answered func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered = answered; p.port == at {
		p.port = nil
	}
}

// serve serves the port until it is closed. An error ends the host.
func (p *port) serve(context.Context) error {
	if err := p.server.Serve(); err != nil {
		return fmt.Errorf("listen on %s: %w", p.address, err)
	}
	return nil
}

// openPort listens as a block says. Connections wait until the port is served.
func openPort(ctx context.Context, o *Options, block *config.Collector, handler http.Handler) (*port, error) {
	log := o.Log.With("source", block.Reference())
	cert, err := listen.LoadCertificate(block.TLSCert, block.TLSKey, log)
	if err != nil {
		return nil, err
	}
	server, err := listen.Open(ctx, listen.Options{Address: block.Listen, Certificate: cert, Handler: handler, Log: log})
	if err != nil {
		return nil, err
	}
	return &port{address: block.Listen, server: server}, nil
}

// portOf returns the port of a collector; nil: it has none yet.
func portOf(c *Collector) *port {
	_, f := c.shown()
	return f.port
}

// describe adds the counts of a collector with an open log, which leaves or not.
func (f front) describe(s *operation.CollectorStatus, l *collecting, leaves bool) {
	if f.port != nil && !leaves {
		s.Listening, s.Listen, s.TLS = true, f.port.server.Address(), f.port.server.Secure()
		if err := l.taken.ready(); err != nil {
			s.Failing = err.Error()
		}
	}
	for _, n := range f.handler.Requests() {
		s.Requests = append(s.Requests, operation.RequestCount{Endpoint: n.Endpoint, Status: n.Status, Reason: n.Reason, Requests: n.Requests})
	}
	for _, n := range f.handler.Counts() {
		r := operation.RecordCount{Endpoint: n.Endpoint, Outcome: n.Outcome, Records: n.Records}
		for _, p := range l.o.Config().Projects {
			if p.ID == n.Project {
				r.Project = p.Name
			}
		}
		s.Records = append(s.Records, r)
	}
}
