package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/listen"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/collector"
)

// Change is a change to the sources of another configuration. Everything that can fail
// was done by Prepare. Its owner calls Apply or Discard, once.
type Change struct {
	set      *Set
	next     sources
	pulls    []*config.Mixpanel // of the configuration
	projects []*config.Project  // of the configuration

	begin  []Source // that are served from now on
	retire []Source
	apply  []func() // to sources that stay
	undo   []func() // of Discard
	// ports are those that no collector has any more. The next one that listens on the
	// address of one gets it.
	ports []freePort
	// decisions let collectors go on that the change retires, and that do not listen yet.
	decisions decisions
}

// freePort is a port that a collector gives up.
type freePort struct {
	*port
	owner *Collector
}

// Prepare prepares a change to the sources of a configuration: it opens the logs, ports,
// databases and pulls of those that are new or have changed. of returns the project of a
// block, also of one that is new in the configuration. After an error nothing has changed.
//
// Sources whose block is the same are not disturbed; a collector reads its database of
// places again, and with Apply its certificate. One change is prepared at a time, by a
// goroutine of the group that serves the set.
func (s *Set) Prepare(ctx context.Context, c *config.Config, of func(*config.Project) *project.Project) (*Change, error) {
	x := &Change{set: s, pulls: c.Mixpanel, projects: c.Projects}
	x.files(c.Sources, of)
	err := x.pull(ctx, c.Mixpanel, of)
	if err == nil {
		err = x.collectors(ctx, c.Collectors)
	}
	if err != nil {
		x.Discard()
		return nil, err
	}
	return x, nil
}

// Discard frees what was prepared.
func (x *Change) Discard() {
	defer x.decisions.take()
	for _, undo := range slices.Backward(x.undo) {
		undo()
	}
}

// Apply carries the change out, with projects that are new. It waits for no source: those
// that are gone or replaced end by themselves. The error names the certificates that could
// not be read again: the ones before are still used.
func (x *Change) Apply(ctx context.Context, added []*project.Project) error {
	defer x.decisions.take()
	s := x.set
	for _, apply := range x.apply {
		apply()
	}
	s.change(func(now *sources) {
		leaving := now.leaving
		*now = x.next
		now.leaving = leaving
		for _, r := range x.retire {
			if c, ok := r.(*Collector); ok {
				now.leaving = append(slices.Clone(now.leaving), c)
			}
		}
	})
	s.budgets.limit(x.pulls)
	for _, r := range x.retire {
		r.Retire()
	}
	for _, b := range x.begin {
		s.served.begin(b, s.whenEnded(b))
	}
	for _, p := range x.ports {
		if !p.owner.isTold() { // otherwise its end closes it
			s.served.run(p.close)
		}
	}
	for _, p := range added {
		keepAliases(s, p)
	}
	var failed error
	for _, c := range x.next.collectors {
		failed = errors.Join(failed, renewCertificate(ctx, c))
	}
	return failed
}

// decisions are what waits until a change is carried out or discarded.
type decisions []func()

// take lets everything go on that waits.
func (d *decisions) take() {
	for _, decided := range *d {
		decided()
	}
	*d = nil
}

func (x *Change) files(blocks []*config.Source, of func(*config.Project) *project.Project) {
	before := x.set.now.Load().files
	for _, b := range blocks {
		i := slices.IndexFunc(before, func(f *Files) bool { return f.config == b })
		if i >= 0 {
			x.next.files = append(x.next.files, before[i])
			continue
		}
		f := newFiles(x.set.o, b, of(b.Project))
		x.next.files = append(x.next.files, f)
		x.begin = append(x.begin, f)
	}
	for _, f := range before {
		if !slices.Contains(x.next.files, f) {
			x.retire = append(x.retire, f)
		}
	}
}

func (x *Change) pull(ctx context.Context, blocks []*config.Mixpanel, of func(*config.Project) *project.Project) error {
	before := x.set.now.Load().pulls
	for _, b := range blocks {
		i := slices.IndexFunc(before, func(p *Mixpanel) bool { return p.Name() == b.Reference() })
		if i >= 0 {
			p := before[i]
			x.next.pulls = append(x.next.pulls, p)
			if p.block() != b {
				x.apply = append(x.apply, func() { p.change(b) })
			}
			continue
		}
		// The state of a pull is opened when nothing changes it any more.
		if err := x.set.served.awaitEnd(ctx, b.Reference(), x.set.o.Wait); err != nil {
			return err
		}
		p, err := openPull(ctx, x.set.o, b, of(b.Project), x.set.budgets)
		if err != nil {
			return fmt.Errorf("source %s: %w", b.Reference(), err)
		}
		x.undo = append(x.undo, p.Close)
		x.next.pulls = append(x.next.pulls, p)
		x.begin = append(x.begin, p)
	}
	for _, p := range before {
		if !slices.Contains(x.next.pulls, p) {
			x.retire = append(x.retire, p)
		}
	}
	return nil
}

// errStarting refuses a change of a collector that does not listen yet.
var errStarting = errors.New("it has not begun to listen yet, as its log, or the journals, could not be opened so far: reload again when it listens")

func (x *Change) collectors(ctx context.Context, blocks []*config.Collector) error {
	before := x.set.now.Load().collectors
	kept := map[*Collector]*config.Collector{}
	var added []*config.Collector
	for _, b := range blocks {
		i := slices.IndexFunc(before, func(c *Collector) bool { return c.Name() == b.Reference() })
		if i < 0 {
			added = append(added, b)
			continue
		}
		kept[before[i]] = b
	}
	// First the ports that become free: others may need them.
	for _, c := range before {
		b := kept[c]
		if b == nil {
			x.retire = append(x.retire, c)
			if err := keepFromStarting(ctx, x, c); err != nil {
				return fmt.Errorf("source %s: %w", c.Name(), err)
			}
		}
		if p := portOf(c); p != nil && (b == nil || b.Listen != p.address) {
			x.ports = append(x.ports, freePort{p, c})
		}
	}
	byName := map[string]*Collector{}
	for _, c := range before {
		b := kept[c]
		if b == nil {
			continue
		}
		byName[c.Name()] = c
		if err := x.change(ctx, c, b); err != nil {
			return fmt.Errorf("source %s: %w", c.Name(), err)
		}
	}
	for _, b := range added {
		c, err := x.add(ctx, b)
		if err != nil {
			return fmt.Errorf("source %s: %w", b.Reference(), err)
		}
		byName[c.Name()] = c
	}
	for _, b := range blocks {
		x.next.collectors = append(x.next.collectors, byName[b.Reference()])
	}
	return nil
}

// keepFromStarting has a collector that does not listen yet wait with that until the change is
// carried out or discarded.
func keepFromStarting(ctx context.Context, x *Change, c *Collector) error {
	decided, err := c.starting.Enter(ctx)
	if err != nil {
		return err
	}
	if c.current() != nil {
		decided()
		return nil
	}
	x.decisions = append(x.decisions, decided)
	return nil
}

// change prepares the change of a collector to another block.
func (x *Change) change(ctx context.Context, c *Collector, b *config.Collector) error {
	if c.current() == nil {
		if c.block() != b {
			return errStarting
		}
		return nil
	}
	settings, err := openSettings(b)
	if err != nil {
		return err
	}
	if err := collector.Check(settings); err != nil {
		return err
	}
	p := portOf(c)
	if p == nil || b.Listen != p.address {
		if p, err = x.open(ctx, c, b); err != nil {
			return err
		}
	} else if err := x.certify(p, b); err != nil {
		return err
	}
	x.apply = append(x.apply, func() {
		if !c.become(b, settings, p) {
			x.set.served.run(freePort{p, c}.close)
		}
	})
	return nil
}

// certify prepares another certificate of a port.
func (x *Change) certify(p *port, b *config.Collector) error {
	if p.server.Certificate().IsOf(b.TLSCert, b.TLSKey) {
		return nil
	}
	cert, err := listen.LoadCertificate(b.TLSCert, b.TLSKey, x.set.o.Log.With("source", b.Reference()))
	if err == nil {
		x.apply = append(x.apply, func() { p.server.Use(cert) })
	}
	return err
}

// add prepares a new collector.
func (x *Change) add(ctx context.Context, b *config.Collector) (*Collector, error) {
	c := newCollector(x.set, b.Name, b)
	settings, err := openSettings(b)
	if err != nil {
		return nil, err
	}
	if err := x.checkLog(ctx, c); err != nil {
		return nil, err
	}
	if err := x.endLeaving(ctx, b); err != nil {
		return nil, err
	}
	l, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	x.undo = append(x.undo, func() { _ = l.wal.Close() }) // nothing was written to it
	handler, err := c.newHandler(l, settings)
	if err != nil {
		return nil, err
	}
	c.handler = handler // no other goroutine has c yet
	p, err := x.open(ctx, c, b)
	if err != nil {
		return nil, err
	}
	x.apply = append(x.apply, func() { c.take(l, front{handler: handler, port: p}) })
	x.begin = append(x.begin, c)
	return c, nil
}

// checkLog refuses a new collector whose log holds rows of projects that are not
// configured: it could not carry them to journals, and would end the host.
func (x *Change) checkLog(ctx context.Context, c *Collector) error {
	waiting, err := c.waitingInLog(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		added := slices.ContainsFunc(x.projects, func(p *config.Project) bool { return p.ID == id })
		if !added && x.set.o.Projects.ByID(id) == nil {
			return c.unknownProject(id)
		}
	}
	return nil
}

// endLeaving returns when nothing drains the log of a new collector any more. Discard has
// its rows brought to journals as before.
func (x *Change) endLeaving(ctx context.Context, b *config.Collector) error {
	s := x.set
	leaves := s.leaving(b.Reference())
	if leaves != nil {
		leaves.Retire() // it may wait for a project to be configured
	}
	if err := s.served.awaitEnd(ctx, b.Reference(), s.o.Wait); err != nil {
		return err
	}
	if leaves != nil {
		x.undo = append(x.undo, func() { serveLeaving(s, b.Name) })
	}
	return nil
}

// open returns a port for a collector: one that another collector gives up, or else a new
// one, which is served from Apply on.
func (x *Change) open(ctx context.Context, c *Collector, b *config.Collector) (*port, error) {
	i := slices.IndexFunc(x.ports, func(p freePort) bool { return p.address == b.Listen && !strings.HasSuffix(b.Listen, ":0") })
	if i < 0 {
		p, err := openPort(ctx, x.set.o, b, c.handler)
		if err != nil {
			return nil, err
		}
		x.undo = append(x.undo, func() { _ = p.server.Close() }) // nothing was served
		x.apply = append(x.apply, func() { x.set.served.run(p.serve) })
		return p, nil
	}
	p := x.ports[i]
	x.ports = slices.Delete(x.ports, i, i+1)
	if err := x.certify(p.port, b); err != nil {
		return nil, err
	}
	x.apply = append(x.apply, func() { p.owner.giveUp(p.port, p.server.Handle(c.handler)) })
	return p.port, nil
}

// close ends the requests of a port that no collector has any more.
func (p freePort) close(ctx context.Context) error {
	answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	if p.server.Shutdown(answering) != nil {
		_ = p.server.Close() // its connections are of no more use
	}
	return nil
}

// renewCertificate reads the certificate of a collector again.
func renewCertificate(ctx context.Context, c *Collector) error {
	if p := portOf(c); p != nil {
		return p.server.ReloadCertificate(ctx)
	}
	return nil
}
