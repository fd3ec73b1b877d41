package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/geoip"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/listen"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// collecting is a collector's log and, in a host that serves, its server.
type collecting struct {
	config  *config.Collector
	wal     *wal.Log
	lost    *wal.Loss // entries that were missing when the log was opened; nil: none
	log     *rowlog.Log
	handler *collector.Collector // nil: nothing listens
	server  *listen.Server
	places  *geoip.DB               // nil: none
	begun   uint64                  // the last entry when the log was opened
	restart context.CancelCauseFunc // has it drained again from where journals stand; guarded by Host.mu
	held    map[int64]bool          // projects whose rows wait in the log; guarded by Host.mu
	cancel  context.CancelFunc      // ends draining before the log is at its end
	drained chan struct{}           // closed when the log is neither drained nor repaired any more
}

func (h *Host) collectorPath(c *config.Collector) string {
	return h.dir.Path(datadir.CollectorDir, c.Name)
}

// openCollector opens a collector's log. The caller closes it.
func (h *Host) openCollector(ctx context.Context, c *config.Collector) (*collecting, error) {
	sealed, err := h.sealedEntries(ctx, c)
	if err != nil {
		return nil, err
	}
	// Each of the two directories is made durable by itself.
	path := h.collectorPath(c)
	if _, err := wal.OpenDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	dir, err := wal.OpenDir(path)
	if err != nil {
		return nil, err
	}
	var lost *wal.Loss
	l, found, err := wal.Open(wal.Options{FileSystem: dir, After: sealed, Lost: func(loss wal.Loss) error {
		lost = &loss
		return h.noteLoss(c, loss)
	}})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
	}
	if found.Cut > 0 && lost == nil {
		h.log.Warn("cut the torn end of a write-ahead log; it was not acknowledged to clients", "source", c.Reference(), "bytes", found.Cut)
	}
	return &collecting{config: c, wal: l, lost: lost, begun: l.Last(), log: rowlog.New(l, c.Reference(), h.catalog)}, nil
}

// startCollectors listens for all collectors. end receives the errors that end
// the host. The caller stops the collectors.
func (h *Host) startCollectors(ctx context.Context, end context.CancelCauseFunc) error {
	for _, c := range h.config.Collectors {
		var l *collecting
		err := h.retryTransient(ctx, "could not open the write-ahead log of a collector; will retry", func(ctx context.Context) (err error) {
			l, err = h.openCollector(ctx, c)
			return err
		})
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.collectors = append(h.collectors, l)
		h.mu.Unlock()
		if err := h.startCollector(ctx, l, end); err != nil {
			return fmt.Errorf("source %s: %w", c.Reference(), err)
		}
	}
	return nil
}

func (h *Host) startCollector(ctx context.Context, l *collecting, end context.CancelCauseFunc) (err error) {
	o := collectorOptions(l.config)
	o.Log, o.Rejects = l.log, &refusedByCollector{store: h.quarantine, source: l.config.Reference(), projects: l.config.Projects}
	o.Ready, o.Logger = l.log.Err, h.log.With("source", l.config.Reference())
	if l.config.GeoIP != "" {
		if l.places, err = geoip.Open(l.config.GeoIP); err != nil {
			return err
		}
		o.Geo = l.places
	}
	if slices.ContainsFunc(l.config.Projects, (*config.Project).Legacy) {
		o.Aliases = aliasesOf{h}
	}
	handler, err := collector.New(o)
	if err != nil {
		return err
	}
	server, err := listen.Open(ctx, listen.Options{
		Address: l.config.Listen, Cert: l.config.TLSCert, Key: l.config.TLSKey, Handler: handler, Log: h.log.With("source", l.config.Reference()),
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	l.handler, l.server, l.drained = handler, server, make(chan struct{})
	h.mu.Unlock()
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	var carriers sync.WaitGroup
	carriers.Go(func() { h.drain(draining, l, end) })
	carriers.Go(func() { h.repair(draining, l) })
	go func() {
		carriers.Wait()
		close(l.drained)
	}()
	go func() {
		if err := server.Serve(); err != nil {
			end(fmt.Errorf("source %s: %w", l.config.Reference(), err))
		}
	}()
	h.log.Info("collecting", "source", l.config.Reference(), "listen", server.Address(), "tls", server.Secure())
	return nil
}

// collectorOptions are the options of a collector's configuration, without the
// stores that it writes to.
func collectorOptions(c *config.Collector) collector.Options {
	o := collector.Options{
		APISecret: string(c.APISecret), CORSOrigins: c.CORSOrigins, RedirectOrigins: c.RedirectOrigins, MaxBody: c.MaxBody,
	}
	for _, p := range c.Projects {
		o.Projects = append(o.Projects, collector.Project{
			ID: p.ID, Token: p.Token, Identity: p.Identity, NoProfiles: p.ProfilesPulled,
		})
	}
	for _, a := range c.Accounts {
		o.Accounts = append(o.Accounts, collector.Account{Username: a.Username, Secret: string(a.Secret)})
	}
	return o
}

// stopCollectors ends requests in flight, takes no more, and brings everything
// that was acknowledged into journals, where it is not sealed yet.
func (h *Host) stopCollectors(ctx context.Context) error {
	errs := make([]error, len(h.collectors))
	var wg sync.WaitGroup
	for i, l := range h.collectors {
		wg.Go(func() { errs[i] = h.stopCollector(ctx, l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// answerTime is how long requests in flight have to end when a host stops.
const answerTime = lifecycle.StopTime / 2

func (h *Host) stopCollector(ctx context.Context, l *collecting) error {
	if l.server == nil {
		return l.wal.Close()
	}
	l.handler.Drain()
	answering, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var err error
	if errors.Join(l.server.Shutdown(answering), l.handler.Wait(answering)) != nil {
		h.log.Warn("closed connections of requests that did not end; they were not acknowledged", "source", l.config.Reference())
		_ = l.server.Close() // its connections are of no more use
	} else if l.places != nil {
		err = l.places.Close()
	}
	err = errors.Join(err, l.wal.Close())
	select {
	case <-l.drained:
	case <-ctx.Done():
		// The next host drains the rest of the log.
	}
	l.cancel()
	<-l.drained
	return err
}

// collectorStatus reports the requests and records of collectors since the host
// began, and the size of the logs of those that do not listen.
func (h *Host) collectorStatus(ctx context.Context) ([]operation.CollectorStatus, error) {
	counts, err := h.quarantine.Counts()
	if err != nil {
		return nil, err
	}
	lost := map[*config.Collector][]operation.LogLoss{}
	for _, c := range h.config.Collectors {
		if lost[c], err = h.losses(ctx, c); err != nil {
			return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	statuses := []operation.CollectorStatus{}
	for _, c := range h.config.Collectors {
		s := operation.CollectorStatus{
			Name: c.Reference(), Listen: c.Listen, TLS: c.TLSCert != "", Requests: []operation.RequestCount{}, Records: []operation.RecordCount{},
			Quarantined: refusedTotals(counts[c.Reference()]), Lost: lost[c],
		}
		for _, l := range h.collectors {
			if l.config == c && l.handler != nil {
				l.describe(&s)
			}
		}
		if !s.Listening {
			if s.LogBytes, err = sizeOf(h.collectorPath(c)); err != nil {
				return nil, err
			}
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

// describe adds the counts of a collector that listens.
func (l *collecting) describe(s *operation.CollectorStatus) {
	s.Listening, s.Listen = true, l.server.Address()
	s.Failing = textOf(l.log.Err())
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

// sizeOf is how many bytes the files of a directory have; 0 when there is none.
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
