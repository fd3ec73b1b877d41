package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/geoip"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/source/collector"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// collectorDir holds the write-ahead logs, by name of their source.
const collectorDir = "collector"

// Limits of what clients of a collector may hold.
const (
	headerTime     = 10 * time.Second
	readTime       = 60 * time.Second // headers and body
	writeTime      = 120 * time.Second
	idleTime       = 120 * time.Second
	maxHeader      = 256 << 10 // bytes; a GET carries its event there
	maxConnections = 2048
	maxStreams     = 16 // of HTTP/2, in each connection
)

// trimEvery is how often the front of a log is dropped, as far as it is in
// journals.
const trimEvery = 5 * time.Second

// collecting is a collector's log and, in a host that serves, what listens.
type collecting struct {
	config  *config.Collector
	wal     *wal.Log
	log     *rowlog.Log
	handler *collector.Collector // nil: nothing listens
	server  *http.Server
	address string                  // that the listener has
	places  *geoip.DB               // nil: none
	restart context.CancelCauseFunc // has it drained again from where journals stand
	cancel  context.CancelFunc      // ends draining before the log is at its end
	drained chan struct{}
}

func (h *Host) collectorPath(c *config.Collector) string {
	return filepath.Join(h.config.Host.DataDir, collectorDir, c.Name)
}

// openCollector opens a collector's log. The caller closes it.
func (h *Host) openCollector(ctx context.Context, c *config.Collector) (*collecting, error) {
	var ids []int64
	for _, p := range h.config.Projects {
		ids = append(ids, p.ID)
	}
	sealed, err := rowlog.Sealed(ctx, h.catalog, c.Reference(), ids...)
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
	l, found, err := wal.Open(wal.Options{FileSystem: dir, After: sealed})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
	}
	if found.Cut > 0 {
		h.log.Warn("the end of a write-ahead log was torn and is cut: nobody was told that it is stored", "source", c.Reference(), "bytes", found.Cut)
	}
	return &collecting{config: c, wal: l, log: rowlog.New(l, c.Reference(), h.catalog)}, nil
}

// appender finds the journal that rows in a log are for.
func (h *Host) appender(source string) func(context.Context, int64) (rowlog.Appender, error) {
	return func(ctx context.Context, id int64) (rowlog.Appender, error) {
		for _, p := range h.config.Projects {
			if p.ID == id {
				j, err := h.journal(ctx, p)
				if err != nil {
					return nil, err
				}
				return j.writer, nil
			}
		}
		return nil, &rowlog.UnknownProjectError{Source: source, Project: id}
	}
}

// drainCollectors brings what the logs of collectors hold into journals, and
// seals. Nothing listens meanwhile.
func (h *Host) drainCollectors(ctx context.Context, summary *Summary) error {
	var failed error
	for _, c := range h.config.Collectors {
		done, err := h.drainCollector(ctx, c)
		if err != nil {
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, done)
	}
	return failed
}

func (h *Host) drainCollector(ctx context.Context, c *config.Collector) (SourceSummary, error) {
	done := SourceSummary{Name: c.Reference()}
	if _, err := os.Stat(h.collectorPath(c)); errors.Is(err, fs.ErrNotExist) {
		return done, nil // nothing was ever collected
	}
	l, err := h.openCollector(ctx, c)
	if err != nil {
		return done, err
	}
	before := h.collected(c)
	if last := l.log.Last(); last > 0 {
		err = l.log.Drain(ctx, last, h.appender(c.Reference()))
	}
	if err == nil {
		err = errors.Join(h.sealAll(ctx), l.log.Trim(ctx))
	}
	after := h.collected(c)
	done.Records, done.Rows, done.Duplicates = after.Rows-before.Rows, after.Kept-before.Kept, after.Duplicates-before.Duplicates
	return done, errors.Join(err, l.wal.Close())
}

// collected sums what was done in the journals of a collector's projects.
func (h *Host) collected(c *config.Collector) (sum struct{ Rows, Kept, Duplicates int64 }) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range c.Projects {
		if j := h.journals[p.ID]; j != nil {
			s := j.writer.Stats()
			sum.Rows, sum.Kept, sum.Duplicates = sum.Rows+s.Rows, sum.Kept+s.Kept, sum.Duplicates+s.Duplicates
		}
	}
	return sum
}

// startCollectors listens for all collectors. end is told of what none of them
// survives. The caller stops them.
func (h *Host) startCollectors(ctx context.Context, end context.CancelCauseFunc) error {
	for _, c := range h.config.Collectors {
		l, err := h.openCollector(ctx, c)
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
	if o.Aliases, err = h.aliases(ctx, l.config.Projects); err != nil {
		return err
	}
	handler, err := collector.New(o)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.config.Listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: h.guarded(l.config.Reference(), handler), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// What is said there names addresses of clients.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	secure := l.config.TLSCert != ""
	if secure {
		if server.TLSConfig, err = certificates(l.config.TLSCert, l.config.TLSKey, h.log.With("source", l.config.Reference())); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	h.mu.Lock()
	l.handler, l.server, l.address, l.drained = handler, server, listener.Addr().String(), make(chan struct{})
	h.mu.Unlock()
	draining, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	go h.drain(draining, l, end)
	go func() {
		limited := netutil.LimitListener(listener, maxConnections)
		serve := server.Serve
		if secure {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(limited); !errors.Is(err, http.ErrServerClosed) {
			end(fmt.Errorf("source %s: %w", l.config.Reference(), err))
		}
	}()
	h.log.Info("collecting", "source", l.config.Reference(), "listen", l.address, "tls", secure)
	return nil
}

// collectorOptions are what a collector's configuration says, but for what it
// writes to.
func collectorOptions(c *config.Collector) collector.Options {
	o := collector.Options{
		APISecret: string(c.APISecret), CORSOrigins: c.CORSOrigins, RedirectOrigins: c.RedirectOrigins, MaxBody: c.MaxBody,
	}
	for _, p := range c.Projects {
		o.Projects = append(o.Projects, collector.Project{
			ID: p.ID, Token: p.Token, Identity: identities[p.Identity], NoProfiles: p.ProfilesFrom == "mixpanel",
		})
	}
	for _, a := range c.Accounts {
		o.Accounts = append(o.Accounts, collector.Account{Username: a.Username, Secret: string(a.Secret)})
	}
	return o
}

// guarded says what has gone wrong in a handler without naming the client.
func (h *Host) guarded(source string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				h.log.Error("a request failed", "source", source, "panic", p, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler)
			}
		}()
		handler.ServeHTTP(w, r)
	})
}

// errRenewed says that a journal was opened again: what was handed to the one
// before is to be handed on again.
var errRenewed = errors.New("a journal that had failed is opened again")

// drain carries a log to journals until the log is closed, also what comes
// while the host is stopping. A journal whose disk is full is opened again when
// there is room: what clients were told is in the log.
func (h *Host) drain(ctx context.Context, l *collecting, end context.CancelCauseFunc) {
	defer close(l.drained)
	for ctx.Err() == nil {
		err := h.drainOnce(ctx, l)
		switch {
		case errors.Is(err, wal.ErrClosed) || ctx.Err() != nil:
			return
		case !h.passing(err):
			end(err)
			return
		}
		h.log.Error("the journal takes nothing; what is collected stays in the write-ahead log", "source", l.config.Reference(), "error", err)
		_ = wait(ctx, fullPause) // the loop looks at what has ended it
	}
}

// drainOnce drains from where the journals stand, until one of them fails.
func (h *Host) drainOnce(ctx context.Context, l *collecting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.mu.Lock()
	l.restart = cancel
	h.mu.Unlock()
	// Of all projects: the log may hold rows of one that is no longer the collector's.
	err := h.settle(ctx, h.config.Projects)
	if err == nil {
		err = l.log.Drain(ctx, 0, h.appender(l.config.Reference()))
	}
	if cause := context.Cause(ctx); errors.Is(cause, errRenewed) {
		return cause // whatever came of it
	}
	return err
}

// fullPause is how long a host waits before it looks again whether a disk has
// room.
const fullPause = 5 * time.Second

// passing says whether the host goes on behind an error of a journal: it
// collects, and the disk is full.
func (h *Host) passing(err error) bool {
	if err == nil || len(h.config.Collectors) == 0 || errors.Is(err, wal.ErrBroken) {
		return false // a log that is broken is so until the next host opens it
	}
	return diskFailed(err) || errors.Is(err, journal.ErrClosed) || errors.Is(err, errRenewed)
}

// settle seals what the journals of projects hold: each stands where its
// cursors say.
func (h *Host) settle(ctx context.Context, projects []*config.Project) error {
	for _, p := range projects {
		j, err := h.journal(ctx, p)
		if err == nil {
			err = j.writer.Seal(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trimCollectors drops from time to time what is in journals, and opens those
// again that have failed.
func (h *Host) trimCollectors(ctx context.Context) {
	for wait(ctx, trimEvery) == nil {
		for _, l := range h.collectors {
			for _, p := range l.config.Projects {
				if _, err := h.journal(ctx, p); err != nil && ctx.Err() == nil {
					h.log.Warn("a journal that had failed cannot be opened yet", "project", p.Name, "error", err)
				}
			}
		}
		h.trim(ctx)
	}
}

func (h *Host) trim(ctx context.Context) {
	for _, l := range h.collectors {
		if err := l.log.Trim(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("a write-ahead log could not be trimmed", "source", l.config.Reference(), "error", err)
		}
	}
}

// stopCollectors ends requests in flight, takes no more, and brings everything
// that was acknowledged into journals, where it is not sealed yet.
func (h *Host) stopCollectors(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	errs := make([]error, len(h.collectors))
	var wg sync.WaitGroup
	for i, l := range h.collectors {
		wg.Go(func() { errs[i] = h.stopCollector(ctx, l) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// answerTime is how long requests in flight have to end when a host stops.
const answerTime = stopTimeout / 2

func (h *Host) stopCollector(ctx context.Context, l *collecting) error {
	if l.server == nil {
		return l.wal.Close()
	}
	l.handler.Drain()
	answering, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var err error
	if l.server.Shutdown(answering) != nil {
		h.log.Warn("requests that did not end are cut off: they were not acknowledged", "source", l.config.Reference())
		_ = l.server.Close() // there is nobody to tell
	} else if l.places != nil {
		err = l.places.Close()
	}
	err = errors.Join(err, l.wal.Close())
	select {
	case <-l.drained:
	case <-ctx.Done():
		// What is left in the log is drained by the next host.
	}
	l.cancel()
	<-l.drained
	return err
}

// collectorStatus says what collectors have done since the host began, and,
// where none listens, what waits in their logs.
func (h *Host) collectorStatus() ([]CollectorStatus, error) {
	counts, err := h.quarantine.Counts()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	statuses := []CollectorStatus{}
	for _, c := range h.config.Collectors {
		s := CollectorStatus{
			Name: c.Reference(), Listen: c.Listen, TLS: c.TLSCert != "", Requests: []RequestCount{}, Records: []RecordCount{},
			Quarantined: counts[c.Reference()],
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

// describe says what a collector that listens has done.
func (l *collecting) describe(s *CollectorStatus) {
	s.Listening, s.Listen = true, l.address
	waiting := int64(l.log.Waiting())
	s.LogBytes, s.Waiting = l.log.Size(), &waiting
	for _, n := range l.handler.Requests() {
		s.Requests = append(s.Requests, RequestCount{Endpoint: n.Endpoint, Status: n.Status, Requests: n.Requests})
	}
	for _, n := range l.handler.Counts() {
		r := RecordCount{Endpoint: n.Endpoint, Outcome: n.Outcome, Records: n.Records}
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

// refusedByCollector puts records that a collector refuses into quarantine.
// Those of requests that come at the same time are written together.
type refusedByCollector struct {
	store    *quarantine.Store
	source   string
	projects []*config.Project

	mu     sync.Mutex
	next   *refusedBatch // what waits
	commit sync.Mutex
}

type refusedBatch struct {
	entries []quarantine.Entry
	done    bool
	err     error
}

// Reject implements collector.Rejects.
func (r *refusedByCollector) Reject(_ context.Context, records []collector.Reject) error {
	b := r.join(records)
	r.commit.Lock()
	defer r.commit.Unlock()
	if !b.done {
		r.mu.Lock()
		r.next = nil
		r.mu.Unlock()
		b.err, b.done = r.store.Append(r.source, b.entries), true
	}
	return b.err
}

// join adds records to what waits. Their bytes stay the caller's, who waits.
func (r *refusedByCollector) join(records []collector.Reject) *refusedBatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &refusedBatch{}
	}
	for _, x := range records {
		r.next.entries = append(r.next.entries, quarantine.Entry{
			Position: r.position(x), Reason: string(x.Reason), Detail: x.Detail, Bytes: x.Record,
		})
	}
	return r.next
}

const forProject = " for project "

// position says where a record was sent to.
func (r *refusedByCollector) position(x collector.Reject) string {
	for _, p := range r.projects {
		if p.ID == x.Project {
			return "/" + x.Endpoint + forProject + p.Name
		}
	}
	return "/" + x.Endpoint
}
