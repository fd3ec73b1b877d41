package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/geoip"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/listen"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// Collector supervises a source block of type collector: its write-ahead log and,
// while it is served, its listener.
type Collector struct {
	*logDir
	aliases *aliases

	mu     sync.Mutex
	now    *collecting       // nil: the log is not open
	access *config.Collector // whose secrets, accounts and origins hold; nil: those of logDir
}

func newCollector(o *Options, c *config.Collector, trims lifecycle.Gate) *Collector {
	return &Collector{logDir: &logDir{o: o, config: c, dir: o.Dir.Path(datadir.CollectorDir, c.Name), trims: trims}}
}

// logDir is the directory of a collector's write-ahead log.
type logDir struct {
	o      *Options
	config *config.Collector
	dir    string
	trims  lifecycle.Gate // of all logs: held while the front of one is dropped, and while logs are copied
}

// collecting is the open log of a collector and its listener. Its fields do not change
// once current returns it.
type collecting struct {
	*logDir
	wal    *wal.Log
	log    *rowlog.Log
	lost   *wal.Loss // entries that were missing when the log was opened; nil: none
	begun  uint64    // the last entry when the log was opened
	handed *drain

	handler *collector.Collector // nil: nothing listens
	server  *listen.Server
	places  *geoip.DB // nil: none
}

// Name implements Source.
func (d *logDir) Name() string { return d.config.Reference() }

// Close implements Source.
func (c *Collector) Close() {}

// current returns the collector's open log; nil: it is not open.
func (c *Collector) current() *collecting {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *Collector) setCurrent(l *collecting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now = l; c.access != nil { // it was reloaded before the collector listened
		l.handler.SetAccess(accessOf(c.access))
	}
}

// open opens the collector's log. The caller closes it.
func (d *logDir) open(ctx context.Context) (*collecting, error) {
	sealed, err := d.sealedEntries(ctx)
	if err != nil {
		return nil, err
	}
	// Each of the two directories is made durable by itself.
	if _, err := wal.OpenDir(filepath.Dir(d.dir)); err != nil {
		return nil, err
	}
	dir, err := wal.OpenDir(d.dir)
	if err != nil {
		return nil, err
	}
	var lost *wal.Loss
	l, found, err := wal.Open(wal.Options{FileSystem: dir, After: sealed, Lost: func(loss wal.Loss) error {
		lost = &loss
		return d.noteLoss(loss)
	}})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", d.Name(), err)
	}
	if found.Cut > 0 && lost == nil {
		d.o.Log.Warn("cut the torn end of a write-ahead log; it was not acknowledged to clients", "source", d.Name(), "bytes", found.Cut)
	}
	return &collecting{logDir: d, wal: l, lost: lost, begun: l.Last(), log: rowlog.New(l, d.Name(), d.o.Catalog), handed: newDrain()}, nil
}

// Serve implements Source. It listens once the aliases of legacy projects are looked
// for. When ctx is done it ends requests in flight, takes no more, and brings
// everything that was acknowledged into journals, where it is not sealed yet.
func (c *Collector) Serve(ctx context.Context) error {
	if err := c.aliases.learn(ctx); err != nil {
		return nil // ctx is done
	}
	l, err := c.retryOpen(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := l.listen(ctx, c.aliases); err != nil {
		return errors.Join(fmt.Errorf("source %s: %w", c.Name(), err), l.wal.Close())
	}
	c.setCurrent(l)
	c.o.Log.Info("collecting", "source", c.Name(), "listen", l.server.Address(), "tls", l.server.Secure())
	return l.collect(ctx)
}

// retryOpen opens the log again while the error is transient.
func (c *Collector) retryOpen(ctx context.Context) (*collecting, error) {
	pauses := newPauses()
	for {
		l, err := c.open(ctx)
		if err == nil || !datadir.IsTransient(err) || ctx.Err() != nil {
			return l, err
		}
		pause := pauses.Pause()
		c.o.Log.Error("could not open the write-ahead log of a collector; will retry", "error", c.o.Dir.Explain(err), "pause", pause.Round(time.Millisecond))
		if err := c.o.Wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// listen makes the collector's handler and listens.
func (l *collecting) listen(ctx context.Context, aliases *aliases) (err error) {
	o := collectorOptions(l.config)
	o.Log, o.Rejects = l.log, &refusedByCollector{store: l.o.Quarantine, source: l.Name(), projects: l.config.Projects, commit: lifecycle.NewGate()}
	o.Ready, o.Logger = l.log.Err, l.o.Log.With("source", l.Name())
	if l.config.GeoIP != "" {
		if l.places, err = geoip.Open(l.config.GeoIP); err != nil {
			return err
		}
		o.Geo = l.places
	}
	if slices.ContainsFunc(l.config.Projects, (*config.Project).Legacy) {
		o.Aliases = aliases
	}
	if l.handler, err = collector.New(o); err != nil {
		return err
	}
	l.server, err = listen.Open(ctx, listen.Options{
		Address: l.config.Listen, Cert: l.config.TLSCert, Key: l.config.TLSKey, Handler: l.handler, Log: l.o.Log.With("source", l.Name()),
	})
	return err
}

// collect serves requests, and carries their rows to journals, until ctx is done. An
// error of the listener, or a log that is another installation's, ends the host.
func (l *collecting) collect(ctx context.Context) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	g := lifecycle.NewGroup(serving)
	g.Go(func(context.Context) error {
		if err := l.server.Serve(); err != nil {
			return fmt.Errorf("source %s: %w", l.Name(), err)
		}
		return nil
	})
	g.Go(func(ctx context.Context) error {
		l.serveTrims(ctx)
		return nil
	})
	// Rows are carried on while the host is stopping, until the log is closed.
	carrying, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	carriers := lifecycle.NewGroup(carrying)
	carriers.Go(func(ctx context.Context) error { return l.drain(ctx) })
	carriers.Go(func(ctx context.Context) error {
		l.repair(ctx)
		return nil
	})
	select {
	case <-g.Done():
	case <-carriers.Done():
	}
	closing, cancel := l.o.Grace.First()
	defer cancel()
	err := l.stop(closing)
	stopServing()
	context.AfterFunc(closing, end) // the next host drains the rest of the log
	return errors.Join(carriers.Wait(), err, g.Wait())
}

// collectorOptions are the options of a collector's configuration, without the
// stores that it writes to.
func collectorOptions(c *config.Collector) collector.Options {
	o := collector.Options{Access: accessOf(c), MaxBody: c.MaxBody}
	for _, p := range c.Projects {
		o.Projects = append(o.Projects, collector.Project{ID: p.ID, Token: p.Token, Identity: p.Identity, NoProfiles: p.ProfilesPulled})
	}
	return o
}

// accessOf returns the access of a collector's configuration.
func accessOf(c *config.Collector) collector.Access {
	a := collector.Access{APISecret: string(c.APISecret), CORSOrigins: c.CORSOrigins, RedirectOrigins: c.RedirectOrigins}
	for _, account := range c.Accounts {
		a.Accounts = append(a.Accounts, collector.Account{Username: account.Username, Secret: string(account.Secret)})
	}
	return a
}

// setAccess takes over secrets, accounts and origins of another configuration of the
// collector, and reads its certificate again. Connections stay open.
func (c *Collector) setAccess(ctx context.Context, next *config.Collector) error {
	c.mu.Lock()
	c.access = next
	l := c.now
	c.mu.Unlock()
	if l == nil {
		return nil // listen takes it
	}
	l.handler.SetAccess(accessOf(next))
	return l.server.ReloadCertificate(ctx)
}

// answerTime is how long requests in flight have to end when a host stops.
const answerTime = lifecycle.StopTime / 2

// stop ends requests in flight, and closes the log.
func (l *collecting) stop(ctx context.Context) error {
	l.handler.Drain()
	answering, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var err error
	if errors.Join(l.server.Shutdown(answering), l.handler.Wait(answering)) != nil {
		l.o.Log.Warn("closed connections of requests that did not end; they were not acknowledged", "source", l.Name())
		_ = l.server.Close() // its connections are of no more use
	} else if l.places != nil {
		err = l.places.Close()
	}
	return errors.Join(err, l.wal.Close())
}

// Describe implements Source. Of a collector that does not listen, the entries that
// wait in its log are counted on disk.
func (c *Collector) Describe(ctx context.Context, status *operation.Status, counts map[string]quarantine.Count) error {
	s, err := c.describe(ctx)
	if err != nil {
		return err
	}
	s.Quarantined = totals(counts)
	if s.Waiting == nil {
		projects, err := c.waitingInLog(ctx)
		if err != nil {
			return err
		}
		waiting := int64(0)
		for _, n := range projects {
			waiting += n
		}
		s.Waiting = &waiting
	}
	status.Collectors = append(status.Collectors, s)
	return nil
}

// describe returns the requests and records since the host began, and the size of the
// log. Waiting is nil unless the collector listens.
func (c *Collector) describe(ctx context.Context) (s operation.CollectorStatus, err error) {
	s = operation.CollectorStatus{
		Name: c.Name(), Listen: c.config.Listen, TLS: c.config.TLSCert != "", Requests: []operation.RequestCount{}, Records: []operation.RecordCount{},
	}
	if s.Lost, err = c.losses(ctx); err != nil {
		return s, err
	}
	l := c.current()
	if l == nil {
		s.LogBytes, err = sizeOf(c.dir)
		return s, err
	}
	l.describe(&s)
	return s, nil
}

// describe adds the counts of a collector that listens.
func (l *collecting) describe(s *operation.CollectorStatus) {
	s.Listening, s.Listen = true, l.server.Address()
	if err := l.log.Err(); err != nil {
		s.Failing = err.Error()
	}
	waiting := int64(l.log.Waiting())
	s.LogBytes, s.Waiting = l.log.Size(), &waiting
	for _, n := range l.handler.Requests() {
		s.Requests = append(s.Requests, operation.RequestCount{Endpoint: n.Endpoint, Status: n.Status, Reason: n.Reason, Requests: n.Requests})
	}
	for _, n := range l.handler.Counts() {
		r := operation.RecordCount{Endpoint: n.Endpoint, Outcome: n.Outcome, Records: n.Records}
		for _, p := range l.config.Projects {
			if p.ID == n.Project {
				r.Project = p.Name
			}
		}
		s.Records = append(s.Records, r)
	}
}

// Unread implements Source.
func (c *Collector) Unread(ctx context.Context, p *config.Pipeline) (*operation.Unread, error) {
	if !slices.Contains(c.config.Projects, p.Project) {
		return nil, nil
	}
	s, err := c.describe(ctx)
	if err != nil {
		return nil, err
	}
	var n int64
	if s.Waiting != nil {
		n = *s.Waiting // of all its projects
	} else {
		projects, err := c.waitingInLog(ctx)
		if err != nil {
			return nil, err
		}
		n = projects[p.Project.ID]
	}
	if n == 0 {
		return nil, nil
	}
	return &operation.Unread{Source: c.Name(), Requests: n, Bytes: s.LogBytes}, nil
}

// waitingInLog counts the entries of a log, which is not open, that are not in the
// journal of their project, by project.
func (d *logDir) waitingInLog(ctx context.Context) (map[int64]int64, error) {
	sealed := map[int64]uint64{}
	for _, p := range d.o.Config.Projects {
		last, err := rowlog.Sealed(ctx, d.o.Catalog, d.Name(), p.ID)
		if err != nil {
			return nil, err
		}
		sealed[p.ID] = last
	}
	return rowlog.WaitingIn(d.dir, sealed)
}

// sizeOf returns how many bytes the files of a directory have; 0 when there is none.
func sizeOf(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var n int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n, err
}
