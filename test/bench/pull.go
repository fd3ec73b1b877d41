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
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The bars of pulls, the server included.
const (
	// pullTime is a multiple of the limit's time: 200,000 events/s on two processors
	// on which the limit is 2,000,000 events/s.
	pullTime   = 10
	pullMemory = 200 // MiB
	// dayRows are the events of one day of about 5 GB.
	dayRows = 6_600_000
)

// pulls measures how a host pulls events out of a server that plays Mixpanel's
// export API on the same processors, into the journal: a month of days, and one day
// of 5 GB. The rows are exported afterwards, and counted.
func pulls(ctx context.Context, b *runner, r *report) error {
	month, err := b.month()
	if err != nil {
		return err
	}
	days := b.pull(ctx, "a month of days", month)
	if err := b.alternate(ctx, month, []*subject{days}, b.n); err != nil {
		return err
	}
	day, err := b.input(dayRows/b.scale, 1, false)
	if err != nil {
		return err
	}
	large := b.pull(ctx, fmt.Sprintf("one day of %.1f GB", float64(day.bytes)/1e9), day)
	if err := b.alternate(ctx, day, []*subject{large}, 1); err != nil {
		return err
	}
	if err := b.remove(day); err != nil {
		return err
	}
	head("pulled into the journal", "events", "events/s", "CPU ÷ limit", "time ÷ limit", "server's µs CPU per event", "host's µs CPU per event", "host MiB")
	for _, s := range []*subject{days, large} {
		x := s.last()
		row(s.name, thousands(int64(s.rows)), number(medianOf(x, sample.rate)), number(medianOf(x, sample.cpuRatio)), number(medianOf(x, sample.wallRatio)),
			number(medianOf(x, sample.serverCPU)), number(medianOf(x, func(x sample) float64 { return x.perEvent(x.rows).cpu })), mib(medianOf(x, hostMiB)))
		r.atMost(s.name+" pulled, time", medianOf(x, sample.wallRatio), pullTime, ratio)
		r.atMost(s.name+" pulled, host memory", medianOf(x, hostMiB), pullMemory, "MiB")
	}
	r.atMost("host memory, one day ÷ a month of days", medianOf(large.last(), hostMiB)/medianOf(days.last(), hostMiB), 1.1, "×")
	return nil
}

func (x sample) rate() float64 { return float64(x.rows) / x.wall.Seconds() }

// serverCPU is the processor time of the server for each event, in µs.
func (x sample) serverCPU() float64 { return x.server.Seconds() * 1e6 / float64(x.rows) }

// pull is a host that pulls an input. A process of its own serves it.
func (b *runner) pull(ctx context.Context, name string, in *input) *subject {
	return &subject{name: name, rows: in.rows, run: func(of build) (usage, error) {
		dir, err := os.MkdirTemp(b.dir, "pull-*")
		if err != nil {
			return usage{}, err
		}
		defer os.RemoveAll(dir)
		addr, err := freeAddress()
		if err != nil {
			return usage{}, err
		}
		self, err := os.Executable()
		if err != nil {
			return usage{}, err
		}
		s, err := startServer(ctx, addr, "", nil, self, "mixpanel", addr, in.path)
		if err != nil {
			return usage{}, err
		}
		defer s.stop()
		before := cpuTime(s.cmd.Process.Pid) // it has found the days
		u, err := runOnce(ctx, dir, of, pullConfig(of, dir, in, addr, false))
		if err != nil {
			return u, err
		}
		u.server = cpuTime(s.cmd.Process.Pid) - before
		if _, err := runOnce(ctx, dir, of, pullConfig(of, dir, in, addr, true)); err != nil {
			return u, err
		}
		return u, u.count(name, in, outDir(dir, 0))
	}}
}

// pullConfig is the configuration of a host that pulls, and exports if it is to.
func pullConfig(of build, dir string, in *input, addr string, exports bool) string {
	from := in.first.Format(time.DateOnly)
	text := fmt.Sprintf(`host {
  data_dir     = %q
  plugin_dir   = %q
  max_backfill = "500d"
  log_level    = "error"
}
project "bench" {
  id       = 1
  timezone = "UTC"
}
source "mixpanel" "pull" {
  project    = "bench"
  endpoint   = "http://%s"
  from_date  = %q
  people     = false
  api_secret = env("S3_SECRET")
}
`, filepath.Join(dir, "data"), of.plugins(), addr, from)
	if exports {
		text += fmt.Sprintf(`destination "localfs" "out0" {
  path = %q
}
pipeline "out0" {
  project     = "bench"
  stream      = "events"
  destination = "localfs.out0"
  from_date   = %q
}
`, outDir(dir, 0), from)
	}
	return text
}

// byteRange is a part of a file.
type byteRange struct{ from, to int64 }

// mixpanel serves an input, which is in the order of time, as the raw export API
// does: lines of the dates that are asked for, compressed. It checks no credentials
// and has no limits. It ends when it is told to.
func mixpanel(addr, path string) error {
	days, err := daysOf(path)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/2.0/export" {
			http.NotFound(w, r)
			return
		}
		if err := export(w, path, days, r.FormValue("from_date"), r.FormValue("to_date")); err != nil {
			panic(http.ErrAbortHandler) // the client sees a cut stream
		}
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// daysOf finds where the lines of each date are.
func daysOf(path string) (map[string]byteRange, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	days, at := map[string]byteRange{}, int64(0)
	lines := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return days, nil
		}
		if err != nil {
			return nil, err
		}
		_, rest, _ := bytes.Cut(line, []byte(`"time":`))
		digits, _, _ := bytes.Cut(rest, []byte(","))
		seconds, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s has a line without time: %.80q", path, line)
		}
		date := time.Unix(seconds, 0).UTC().Format(time.DateOnly)
		place, ok := days[date]
		if !ok {
			place.from = at
		}
		at += int64(len(line))
		place.to = at
		days[date] = place
	}
}

// export writes the lines of some dates.
func export(w http.ResponseWriter, path string, days map[string]byteRange, from, to string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	buffer := make([]byte, 256<<10)
	for date, place := range days {
		if strings.Compare(date, from) < 0 || strings.Compare(date, to) > 0 {
			continue
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{z}, io.NewSectionReader(f, place.from, place.to-place.from), buffer); err != nil {
			return err
		}
	}
	return z.Close()
}
