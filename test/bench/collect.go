package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
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

// point is a way of sending events that is measured, and what was measured.
type point struct {
	load
	paced bool

	host, bare []served
	disk       []loaded
}

// served is a load and what the server took for it.
type served struct {
	loaded
	usage
}

// collecting measures what the collector acknowledges, in batches as SDKs and
// as importers send them, beside the disk's syncs of such batches and a server
// that only reads them.
func collecting(ctx context.Context, o options, work string, r *report) error {
	small, large := sdk(50), imports(2000)
	smallRequests, largeRequests := small.requests(500_000/o.scale), large.requests(1_500_000/o.scale)
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
		n := min(int(rate*pacedTime.Seconds())/o.scale, len(k.requests))
		points = append(points, &point{paced: true, load: load{kind: k.kind, requests: k.requests[:n], connections: 64, due: schedule(n, rate)}})
	}
	rounds := min(o.n, 3)
	for round := range rounds {
		for _, p := range points {
			if err := p.measure(ctx, o, work); err != nil {
				return fmt.Errorf("collect, %s, %d connections, round %d: %w", p.kind.name, p.connections, round+1, err)
			}
			last := p.host[round]
			fmt.Fprintf(os.Stderr, "collect %s, batches of %d, %d connections %d/%d: %.0f events/s, p99 %.1f ms, %.2f µs CPU per event\n",
				p.kind.name, p.kind.events, p.connections, round+1, rounds, last.rate(), last.percentile(0.99), last.cpuPerEvent())
		}
	}
	r.collectTable(points, rounds)
	r.collectBars(points)
	return nil
}

// cpuPerEvent is the server's, in µs.
func (s served) cpuPerEvent() float64 { return s.usage.cpu.Seconds() * 1e6 / float64(s.events) }

// mib is the server's peak of resident memory.
func (s served) mib() float64 {
	return float64(s.peakOf(func(string) bool { return true })) / (1 << 20)
}

// measure measures the yardsticks and the host, one after another.
func (p *point) measure(ctx context.Context, o options, work string) error {
	dir, err := os.MkdirTemp(work, "collect-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	limit := syncTime
	if p.paced {
		limit = pacedTime / 2
	}
	disk, err := syncs(dir, p.requests[0].raw, limit, p.due)
	if err != nil {
		return err
	}
	p.disk = append(p.disk, disk)
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
		return start(ctx, 100*time.Millisecond, dir, nil, self, "discard", addr, "{"+p.kind.want+"}")
	})
	if err != nil {
		return fmt.Errorf("bare server: %w", err)
	}
	p.bare = append(p.bare, bare)
	host, err := serve(ctx, p.load, func(addr string) (*process, error) {
		if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(collectConfig(o.root, dir, addr)), 0o600); err != nil {
			return nil, err
		}
		return start(ctx, 100*time.Millisecond, dir, nil, filepath.Join(o.root, "bin", "penstock"), "run", "--config", "penstock.hcl")
	})
	if err != nil {
		return err
	}
	p.host = append(p.host, host)
	return p.export(ctx, o.root, dir, host.loaded)
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
	return served{result, u}, err
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
func collectConfig(root, dir, addr string) string {
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
`, filepath.Join(dir, "data"), filepath.Join(root, "bin", "plugins"), collectToken, addr)
}

// export has the host export what it has collected, and compares it with what
// was acknowledged.
func (p *point) export(ctx context.Context, root, dir string, l loaded) error {
	config := filepath.Join(dir, "penstock.hcl")
	f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
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
		return err
	}
	if _, err := measure(ctx, dir, nil, filepath.Join(root, "bin", "penstock"), "run", "--once", "--config", config); err != nil {
		return err
	}
	return p.compare(filepath.Join(dir, "out"), l)
}

// compare looks for every acknowledged event, once, and for nothing else.
func (p *point) compare(out string, l loaded) error {
	const member = `"insert_id":"`
	seen, rows := make([]bool, len(p.requests)*p.kind.events), 0
	err := eachObject(out, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), 2<<20)
		for lines.Scan() {
			at := bytes.Index(lines.Bytes(), []byte(member)) + len(member)
			number, err := strconv.ParseUint(string(lines.Bytes()[at:at+numberDigits]), 16, 64)
			switch {
			case err != nil || number >= uint64(len(seen)) || !l.acked[int(number)/p.kind.events]:
				return fmt.Errorf("a row that nobody has sent: %s", lines.Bytes())
			case seen[number]:
				return fmt.Errorf("a row is there twice: %s", lines.Bytes())
			}
			seen[number] = true
			rows++
		}
		return lines.Err()
	})
	if err == nil && rows != l.events {
		err = fmt.Errorf("%d rows arrived of %d acknowledged", rows, l.events)
	}
	return err
}
