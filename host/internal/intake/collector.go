package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/geoip"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// Collector supervises a source block of type collector: its write-ahead log and,
// while it is served, its listener. One without a block takes no requests: it brings the
// rows of its log to journals.
type Collector struct {
	*logDir
	*retirement
	presence
	aliases *aliases
	served  *supervisor
	// starting is held while the collector begins to listen, and by a change that retires it
	// before it has: its address may be another collector's then.
	starting lifecycle.Gate
	unopened lastError // why the log is not open yet
}

// logDir is the directory of a collector's write-ahead log.
type logDir struct {
	o     *Options
	name  string
	dir   string
	trims lifecycle.Gate // of all logs: held while the front of one is dropped, and while logs are copied
}

// collecting is the open log of a collector. Its fields do not change once current
// returns it, but for strangers and damaged, which are of the goroutine that drains.
type collecting struct {
	*logDir
	wal    *wal.Log
	log    *rowlog.Log
	lost   *wal.Loss // entries that were missing when the log was opened; nil: none
	begun  uint64    // the last entry when the log was opened
	handed *drain
	// leaving says that the collector has no block: rows of projects that are not
	// configured, strangers, stay in the log.
	leaving   bool
	strangers []int64
	damaged   int        // events that could not be read, of the goroutine that drains
	taken     *reception // of rows that clients send
}

// Name implements Source.
func (d *logDir) Name() string { return "collector." + d.name }

// Close implements Source.
func (c *Collector) Close() {}

// open opens the collector's log. The caller closes it.
func (d *logDir) open(ctx context.Context) (*collecting, error) {
	sealed, err := d.sealedEntries(ctx)
	if err != nil {
		return nil, err
	}
	// Each of the two directories is made durable by itself.
	if _, err := wal.OpenDir(filepath.Dir(d.dir)); err != nil {
		return nil, needRoom(err)
	}
	dir, err := wal.OpenDir(d.dir)
	if err != nil {
		return nil, needRoom(err)
	}
	var lost *wal.Loss
	l, found, err := wal.Open(wal.Options{FileSystem: dir, Segment: logFile, After: sealed, Lost: func(loss wal.Loss) error {
		lost = &loss
		return d.noteLoss(loss)
	}})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", d.Name(), needRoom(err))
	}
	if found.Cut > 0 && lost == nil {
		d.o.Log.Warn("cut the torn end of a write-ahead log; it was not acknowledged to clients", "source", d.Name(), "bytes", found.Cut)
	}
	opened := &collecting{logDir: d, wal: l, lost: lost, begun: l.Last(), log: rowlog.New(l, d.Name(), d.o.Catalog), handed: newDrain()}
	opened.taken = &reception{dir: d, log: opened.log}
	opened.log.SetAside(func(x rowlog.Damaged) error {
		kept, err := keepDamaged(d, x)
		if kept {
			opened.damaged += len(x.Fragment.Entries)
		}
		return err
	})
	return opened, nil
}

// Serve implements Source. It listens once the aliases of legacy projects are looked
// for. When ctx is done it ends requests in flight, takes no more, and brings
// everything that was acknowledged into journals, where it is not sealed yet. One that is
// retired, or has no block, returns when everything is sealed. One that is retired before
// it has listened does not listen.
func (c *Collector) Serve(ctx context.Context) error {
	l := c.current()
	if l == nil { // otherwise a reload has opened it
		if err := c.aliases.learn(ctx); err != nil {
			return nil // ctx is done
		}
		var err error
		if l, err = c.retryOpen(ctx, &c.unopened); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		listens, err := start(ctx, c, l)
		switch {
		case err != nil && ctx.Err() != nil:
			return l.wal.Close()
		case err != nil:
			return errors.Join(fmt.Errorf("source %s: %w", c.Name(), err), l.wal.Close())
		case !listens:
			return c.leave(ctx, l)
		}
	}
	return c.collect(ctx, l)
}

// start has a collector begin to listen, unless it has no block or is retired.
func start(ctx context.Context, c *Collector, l *collecting) (listens bool, err error) {
	started, err := c.starting.Enter(ctx)
	if err != nil {
		return false, err
	}
	defer started()
	if c.block() == nil || c.isTold() {
		return false, nil
	}
	p, err := c.listen(ctx, l)
	if err != nil {
		return false, err
	}
	c.served.run(p.serve)
	return true, nil
}

// retryOpen opens the log again while the error is transient, which is kept in failed for the
// status.
func (d *logDir) retryOpen(ctx context.Context, failed *lastError) (*collecting, error) {
	pauses := newPauses()
	for {
		l, err := d.open(ctx)
		failed.set(err)
		if err == nil || !datadir.IsTransient(err) || ctx.Err() != nil {
			return l, err
		}
		pause := pauses.Pause()
		d.o.Log.Error("could not open the write-ahead log of a collector; will retry",
			"source", d.Name(), "error", d.o.Dir.ExplainRetried(err), "pause", pause.Round(time.Millisecond))
		if err := d.o.Wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// listen makes the collector's handler, and opens its port. The caller serves it.
func (c *Collector) listen(ctx context.Context, l *collecting) (*port, error) {
	block := c.block()
	settings, err := openSettings(block)
	if err != nil {
		return nil, err
	}
	handler, err := c.newHandler(l, settings)
	if err != nil {
		return nil, err
	}
	p, err := openPort(ctx, c.o, block, handler)
	if err != nil {
		return nil, err
	}
	c.take(l, front{handler: handler, port: p})
	return p, nil
}

// zone returns the time zone of a project.
func (l *collecting) zone(project int64) *time.Location {
	return l.o.Projects.ByID(project).Config.TimeZone
}

// newHandler returns the handler of requests, the only one that writes to a log.
func (c *Collector) newHandler(l *collecting, s collector.Settings) (*collector.Collector, error) {
	l.log.Compress(l.zone, func(err error) {
		l.o.Log.Warn("could not compress rows right at first", "source", l.Name(), "error", err)
	})
	return collector.New(collector.Options{
		Projects: s.Projects, Access: s.Access, MaxBody: s.MaxBody, Geo: s.Geo, Log: l.taken, Ready: l.taken.ready, Logger: c.o.Log.With("source", c.Name()),
		Rejects: &refusedByCollector{store: c.o.Quarantine, source: c.Name(), projects: c.projectBlocks, commit: lifecycle.NewGate()}, Aliases: c.aliases,
	})
}

// collect carries rows to journals while requests are served, until ctx is done or the
// collector is retired. A log that is another installation's ends the host.
func (c *Collector) collect(ctx context.Context, l *collecting) error {
	if _, f := c.shown(); f.port != nil {
		c.o.Log.Info("collecting", "source", c.Name(), "listen", f.port.server.Address(), "tls", f.port.server.Secure())
	}
	trimming, stopTrims := context.WithCancel(ctx)
	defer stopTrims()
	trims := lifecycle.NewGroup(trimming)
	trims.Go(func(ctx context.Context) error {
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
	case <-ctx.Done():
	case <-carriers.Done():
	case <-c.told:
	}
	leaves := c.isTold() && ctx.Err() == nil && carrying.Err() == nil
	closing, cancel := ctx, context.CancelFunc(func() {}) // requests have all the time that they may take
	if !leaves {
		closing, cancel = c.o.Grace.First()
	}
	defer cancel()
	err := c.stop(closing, l)
	stopTrims()
	context.AfterFunc(closing, end) // the next host drains the rest of the log
	err = errors.Join(carriers.Wait(), err, trims.Wait())
	if leaves && err == nil {
		return l.finish(ctx)
	}
	return err
}

// answerTime is how long requests in flight have to end when a host stops.
const answerTime = lifecycle.StopTime / 2

// leave brings the rows of a log to journals that takes no requests. Rows of projects that
// are not configured wait until a reload adds one of the projects, or the collector is
// retired: a new one of its name takes over the log.
func (c *Collector) leave(ctx context.Context, l *collecting) error {
	l.leaving = true
	c.take(l, front{})
	if err := l.wal.Close(); err != nil {
		return err
	}
	for {
		err := l.finish(ctx)
		if err != nil || len(l.strangers) == 0 || !l.awaitConfigured(ctx, c.told) {
			return err
		}
	}
}

// configuredEvery is how often a collector that leaves looks whether projects of rows that
// stay in its log are configured.
const configuredEvery = time.Second

// awaitConfigured reports whether a project of rows that stay in the log is configured. It
// waits until one is, ctx is done, or the collector is retired: told is closed.
func (l *collecting) awaitConfigured(ctx context.Context, told <-chan struct{}) bool {
	waiting, end := untilClosed(ctx, told)
	defer end()
	for l.o.Wait(waiting, configuredEvery) == nil {
		if slices.ContainsFunc(l.strangers, func(id int64) bool { return l.o.Projects.ByID(id) != nil }) {
			return true
		}
	}
	return false
}

// settingsOf returns the settings of a block, without places.
func settingsOf(c *config.Collector) collector.Settings {
	s := collector.Settings{Access: accessOf(c), MaxBody: c.MaxBody}
	for _, p := range c.Projects {
		s.Projects = append(s.Projects, collector.Project{ID: p.ID, Token: p.Token, Identity: p.Identity, NoProfiles: p.ProfilesPulled})
	}
	return s
}

// openSettings returns the settings of a block. Its database of places is opened again.
func openSettings(c *config.Collector) (collector.Settings, error) {
	s := settingsOf(c)
	if c.GeoIP == "" {
		return s, nil
	}
	// It is closed when no request refers to it any more.
	places, err := geoip.Open(c.GeoIP)
	if err != nil {
		return s, err
	}
	s.Geo = places
	return s, nil
}

// accessOf returns the access of a collector's configuration.
func accessOf(c *config.Collector) collector.Access {
	a := collector.Access{APISecret: string(c.APISecret), CORSOrigins: c.CORSOrigins, RedirectOrigins: c.RedirectOrigins}
	for _, account := range c.Accounts {
		a.Accounts = append(a.Accounts, collector.Account{Username: account.Username, Secret: string(account.Secret)})
	}
	return a
}

// stop ends requests in flight, and closes the log.
func (c *Collector) stop(ctx context.Context, l *collecting) error {
	f := c.shutFront()
	answering, cancel := context.WithTimeout(ctx, answerTime)
	if c.isTold() {
		answering, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	f.handler.Drain()
	var err error
	if f.port != nil {
		err = f.port.server.Shutdown(answering)
	}
	if f.answered != nil {
		err = errors.Join(err, f.answered(answering))
	}
	if errors.Join(err, f.handler.Wait(answering)) != nil {
		c.o.Log.Warn("closed connections of requests that did not end; they were not acknowledged", "source", c.Name())
		if f.port != nil {
			_ = f.port.server.Close() // its connections are of no more use
		}
	}
	return l.wal.Close()
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
// log. Waiting is nil unless the log is open.
func (c *Collector) describe(ctx context.Context) (s operation.CollectorStatus, err error) {
	s = operation.CollectorStatus{Name: c.Name(), Requests: []operation.RequestCount{}, Records: []operation.RecordCount{}}
	if b := c.block(); b != nil {
		s.Listen, s.TLS = b.Listen, b.TLSCert != ""
	}
	s.Leaving = c.block() == nil || c.isTold()
	if s.Lost, err = lossesOf(ctx, c); err != nil {
		return s, err
	}
	l, f := c.shown()
	if l == nil {
		if why := c.o.Dir.ExplainRetried(c.unopened.get()); why != nil {
			s.Failing = why.Error()
		}
		s.LogBytes, err = sizeOf(c.dir)
		return s, err
	}
	waiting := int64(l.log.Waiting())
	s.LogBytes, s.Waiting = l.log.Size(), &waiting
	if f.handler != nil {
		f.describe(&s, l, c.isTold())
	}
	return s, nil
}

// Unread implements Source.
func (c *Collector) Unread(ctx context.Context, p *config.Pipeline) (*operation.Unread, error) {
	if !slices.Contains(c.projectBlocks(), p.Project) {
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
	ids, err := d.o.Catalog.ProjectIDs(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if sealed[id], err = rowlog.Sealed(ctx, d.o.Catalog, d.Name(), id); err != nil {
			return nil, err
		}
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
