package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How long collecting is measured at a time, and its yardsticks.
const (
	collectTime = 5 * time.Second
	bareTime    = 2 * time.Second
	syncTime    = time.Second
	pacedTime   = 40 * time.Second // a host seals every 30 s
	pacedRate   = 10_000           // events/s
)

// point is a way of sending events, and the measurements of it.
type point struct {
	load
	paced bool

	host [][]served // by build and round
	bare []served
	disk []loaded
}

// String names the point in tables.
func (p *point) String() string {
	name := fmt.Sprintf("`%s`, batches of %s, ", p.name, thousands(int64(p.kind.events)))
	switch {
	case p.paced:
		return name + thousands(pacedRate) + " events/s"
	case p.connections == 1:
		return name + "1 connection"
	default:
		return name + fmt.Sprintf("%d connections", p.connections)
	}
}

// overDisk is by how much the host's p99 is above the disk's in the same rounds.
func (p *point) overDisk(host []served) []float64 {
	var quotients []float64
	for i := range host {
		quotients = append(quotients, host[i].p99()/p.disk[i].p99())
	}
	return quotients
}

// served is a load, and the time and memory that the server took for it.
type served struct {
	loaded
	usage
	limit    perEvent // around it; zero: not measured
	exported exported // of a host
}

// exported is the export of the events that a host has collected.
type exported struct {
	cpu    time.Duration // of the host that exports and its plugin
	stored int64         // bytes of the objects
	level1 int64         // bytes of the same rows when gzip compresses them at level 1 in pieces of 1 MiB
}

// collecting measures how a host collects over HTTP, in batches as SDKs and as
// importers send them. The disk's syncs of such batches and a server that only
// reads them are measured in the same round.
func collecting(ctx context.Context, b *runner, r *report) error {
	month, err := b.month()
	if err != nil {
		return err
	}
	points := b.points()
	if len(points) == 0 {
		return fmt.Errorf("no way of sending has %q in its name", b.sending)
	}
	rounds := min(b.n, 3)
	for round := range rounds {
		for _, p := range points {
			if err := p.measure(ctx, b, month, round); err != nil {
				return fmt.Errorf("collect, %s, round %d: %w", p, round+1, err)
			}
			last := p.host[len(p.host)-1][round]
			progress("collect, %s, %d/%d: %.0f events/s, p99 %.1f ms, CPU %.2f times the limit, with the export %.2f", p, round+1, rounds, last.rate(), last.p99(), last.acknowledged(), last.throughout())
		}
	}
	r.collectTable(points, b.builds, rounds)
	r.collectBars(points)
	return nil
}

// points are the ways of sending that are measured.
func (b *runner) points() []*point {
	small, large := sdk(50), imports(2000)
	smallRequests, largeRequests := small.requests(500_000/b.scale), large.requests(1_500_000/b.scale)
	var points []*point
	for _, connections := range []int{1, 8, 64} {
		points = append(points,
			&point{load: load{kind: small, requests: smallRequests, connections: connections, limit: collectTime}},
			&point{load: load{kind: large, requests: largeRequests, connections: connections, limit: collectTime}})
	}
	for _, k := range []struct {
		kind
		requests []request
	}{{small, smallRequests}, {large, largeRequests}} {
		rate := pacedRate / float64(k.events)
		n := min(int(rate*pacedTime.Seconds())/b.scale, len(k.requests))
		points = append(points, &point{paced: true, load: load{kind: k.kind, requests: k.requests[:n], connections: 64, due: schedule(n, rate)}})
	}
	points = slices.DeleteFunc(points, func(p *point) bool { return !strings.Contains(p.String(), b.sending) })
	for _, p := range points {
		p.host = make([][]served, len(b.builds))
	}
	return points
}

// cpuPerEvent is the server's, in µs.
func (s served) cpuPerEvent() float64 { return s.usage.cpu.Seconds() * 1e6 / float64(s.events) }

// acknowledged is the server's processor time per event as a multiple of the limit's.
func (s served) acknowledged() float64 { return s.limit.ratio(s.cpuPerEvent()) }

// throughout is acknowledged, and the export of the events with it.
func (s served) throughout() float64 {
	return s.acknowledged() + s.limit.ratio(s.exported.cpu.Seconds()*1e6/float64(s.events))
}

// bytesPerRow is of the exported objects.
func (s served) bytesPerRow() float64 { return float64(s.exported.stored) / float64(s.events) }

// overLevel1 is the size of the exported objects as a multiple of that of level 1.
func (s served) overLevel1() float64 {
	return float64(s.exported.stored) / float64(s.exported.level1)
}

// senderPerEvent is this program's, in µs.
func (s served) senderPerEvent() float64 { return s.loaded.cpu.Seconds() * 1e6 / float64(s.events) }

// mib is the server's peak of resident memory.
func (s served) mib() float64 {
	return float64(s.peakOf(func(string) bool { return true })) / (1 << 20)
}

// measure measures the yardsticks and each build, one after another.
func (p *point) measure(ctx context.Context, b *runner, month *input, round int) error {
	if err := p.measureDisk(b.dir); err != nil {
		return err
	}
	if err := p.measureBare(ctx, b.dir); err != nil {
		return fmt.Errorf("bare server: %w", err)
	}
	for i := range b.builds {
		which := (round + i) % len(b.builds)
		var host served
		limit, err := b.bracket(ctx, month, func() (err error) {
			host, err = p.measureHost(ctx, b.dir, b.builds[which])
			return err
		})
		if err != nil {
			return fmt.Errorf("%s build: %w", b.builds[which].name, err)
		}
		host.limit = limit
		p.host[which] = append(p.host[which], host)
	}
	return nil
}

// measureDisk syncs batches as the log would, without group commit, for a while.
func (p *point) measureDisk(work string) error {
	limit := syncTime
	if p.paced {
		limit = pacedTime / 2
	}
	disk, err := syncs(work, p.requests[0].raw, limit, p.due)
	p.disk = append(p.disk, disk)
	return err
}

// measureBare sends a part of the load to the server that only reads.
func (p *point) measureBare(ctx context.Context, work string) error {
	short := p.load
	short.limit = bareTime
	if p.paced {
		n := len(p.requests) / 4
		short.requests, short.due = p.requests[:n], p.due[:n]
	}
	bare, err := serve(ctx, short, func(addr string) (*process, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return start(ctx, 100*time.Millisecond, work, nil, self, "discard", addr, "{"+p.kind.want+"}")
	})
	p.bare = append(p.bare, bare)
	return err
}

// measureHost sends the load to a host, has it export the events, and compares
// them with those that it acknowledged.
func (p *point) measureHost(ctx context.Context, work string, of build) (served, error) {
	dir, err := os.MkdirTemp(work, "collect-*")
	if err != nil {
		return served{}, err
	}
	defer os.RemoveAll(dir)
	host, err := serve(ctx, p.load, func(addr string) (*process, error) {
		if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(collectConfig(of, dir, addr)), 0o600); err != nil {
			return nil, err
		}
		return start(ctx, 100*time.Millisecond, dir, nil, of.penstock(), "run", "--config", "penstock.hcl")
	})
	if err != nil {
		return host, err
	}
	host.exported, err = p.export(ctx, of, dir, host.loaded)
	return host, err
}

// serve starts a server, sends the load, and ends the server.
func serve(ctx context.Context, l load, begin func(addr string) (*process, error)) (served, error) {
	addr, err := freeAddress()
	if err != nil {
		return served{}, err
	}
	server, err := begin(addr)
	if err != nil {
		return served{}, err
	}
	if err := awaitReady(ctx, addr); err != nil {
		_, ended := server.end()
		return served{}, fmt.Errorf("%w: %w", err, ended)
	}
	result, err := l.run(ctx, addr)
	u, ended := server.end()
	if err == nil {
		err = ended
	}
	return served{loaded: result, usage: u}, err
}

// awaitReady waits until a server says that it is ready.
func awaitReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is ready: %w", addr, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// collectConfig is a host that collects.
func collectConfig(of build, dir, addr string) string {
	return fmt.Sprintf(`host {
  data_dir   = %q
  plugin_dir = %q
  log_level  = "error"
}
project "bench" {
  id       = 1
  token    = %q
  timezone = "UTC"
}
source "collector" "in" {
  project = "bench"
  listen  = %q
}
`, filepath.Join(dir, "data"), of.plugins(), collectToken, addr)
}

// export has the host export the events that it collected, and compares them with
// those that it acknowledged.
func (p *point) export(ctx context.Context, of build, dir string, l loaded) (exported, error) {
	config := filepath.Join(dir, "penstock.hcl")
	f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return exported{}, err
	}
	_, err = fmt.Fprintf(f, `destination "localfs" "out" {
  path = %q
}
pipeline "to_out" {
  project     = "bench"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = %q
}
`, filepath.Join(dir, "out"), time.Now().UTC().AddDate(0, 0, -p.kind.days-1).Format(time.DateOnly))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return exported{}, err
	}
	u, err := measure(ctx, dir, nil, of.penstock(), "run", "--once", "--config", config)
	if err != nil {
		return exported{}, err
	}
	e, err := p.compare(filepath.Join(dir, "out"), l)
	e.cpu = u.cpu
	return e, err
}

// compare looks for every acknowledged event, once, and for nothing else. It adds up
// the sizes of the objects.
func (p *point) compare(out string, l loaded) (e exported, err error) {
	const member = `"insert_id":"`
	seen, rows := make([]bool, len(p.requests)*p.kind.events), 0
	z := newLevelOne()
	err = eachObject(out, func(r io.Reader, stored int64) error {
		e.stored += stored
		lines := bufio.NewScanner(io.TeeReader(r, z))
		lines.Buffer(make([]byte, 64<<10), 2<<20)
		for lines.Scan() {
			at := bytes.Index(lines.Bytes(), []byte(member)) + len(member)
			number, err := strconv.ParseUint(string(lines.Bytes()[at:at+numberDigits]), 16, 64)
			switch {
			case err != nil || number >= uint64(len(seen)) || !l.acked[int(number)/p.kind.events]:
				return fmt.Errorf("a row that was not sent: %s", lines.Bytes())
			case seen[number]:
				return fmt.Errorf("a row arrived twice: %s", lines.Bytes())
			}
			seen[number] = true
			rows++
		}
		e.level1, err = z.size() // of all objects so far
		return errors.Join(lines.Err(), err)
	})
	if err == nil && rows != l.events {
		err = fmt.Errorf("%d rows arrived of %d acknowledged", rows, l.events)
	}
	return e, err
}
