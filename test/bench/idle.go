package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	idlePipelines = 1000
	idleSettle    = 20 * time.Second // after the host answers
	idleTime      = time.Minute      // over which CPU time is counted
)

// idle measures what a host with many pipelines costs while it has nothing to export:
// after the first run of each, and before any of them ever had a row. Each pipeline has a
// project of its own, and all of them one destination.
func idle(ctx context.Context, b *runner, r *report) error {
	pipelines := max(idlePipelines/b.scale, 1)
	head(fmt.Sprintf("%s idle pipelines, %s, n = 1", thousands(int64(pipelines)), idleTime), "% of a processor", "host MiB then", "host MiB, peak")
	for _, s := range []struct {
		name string
		rows bool
	}{{"each has run once", true}, {"none ever had a row", false}} {
		got, err := b.idling(ctx, pipelines, s.rows)
		if err != nil {
			return fmt.Errorf("idle pipelines of which %s: %w", s.name, err)
		}
		mib := float64(got.resident) / (1 << 20)
		row(s.name, number(got.share*100), number(mib), number(float64(got.peak)/(1<<20)))
		r.atMost(fmt.Sprintf("%d idle pipelines, %s, CPU", pipelines, s.name), got.share*100, 2, "% of a processor")
		r.atMost(fmt.Sprintf("%d idle pipelines, %s, memory", pipelines, s.name), mib, 150, "MiB")
	}
	return nil
}

// idled has the time and memory of a host while nothing was to be done.
type idled struct {
	share          float64 // CPU time by time, with its plugins
	resident, peak int64   // bytes of the host
}

// idling measures a host with so many pipelines; with rows, after each has exported one.
func (b *runner) idling(ctx context.Context, pipelines int, rows bool) (got idled, err error) {
	of := b.builds[len(b.builds)-1]
	dir, err := os.MkdirTemp(b.dir, "idle-*")
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if rows {
		if err := exportOnce(ctx, of, dir, pipelines); err != nil {
			return got, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "serve.hcl"), []byte(idleConfig(of, dir, pipelines, false)), 0o600); err != nil {
		return got, err
	}
	host, err := start(ctx, 100*time.Millisecond, dir, nil, of.penstock(), "run", "--config", "serve.hcl")
	if err != nil {
		return got, err
	}
	got, err = watchIdle(ctx, of, dir, host)
	u, ended := host.end()
	got.peak = u.host()
	return got, errors.Join(err, ended)
}

// exportOnce gives each project an event, and has a host export all of them.
func exportOnce(ctx context.Context, of build, dir string, pipelines int) error {
	if err := os.Mkdir(filepath.Join(dir, "events"), 0o700); err != nil {
		return err
	}
	yesterday := time.Now().Add(-24 * time.Hour).Unix()
	for i := range pipelines {
		event := fmt.Sprintf(`{"event":"e","properties":{"time":%d,"distinct_id":"u","$insert_id":"i%d"}}`+"\n", yesterday, i)
		if err := os.WriteFile(filepath.Join(dir, "events", fmt.Sprintf("%d.json", i)), []byte(event), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "once.hcl"), []byte(idleConfig(of, dir, pipelines, true)), 0o600); err != nil {
		return err
	}
	if _, err := measure(ctx, dir, nil, of.penstock(), "run", "--once", "--config", "once.hcl"); err != nil {
		return err
	}
	arrived, _, err := countRows(filepath.Join(dir, "out"), io.Discard)
	if err == nil && arrived != pipelines {
		err = fmt.Errorf("%d rows arrived, %d were to be exported", arrived, pipelines)
	}
	return err
}

// watchIdle waits until the host answers and has settled, and then counts.
func watchIdle(ctx context.Context, of build, dir string, host *process) (got idled, err error) {
	for range 300 {
		if _, err = measure(ctx, dir, nil, of.penstock(), "status", "--config", "serve.hcl"); err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		return got, fmt.Errorf("wait until the host answers: %w", err)
	}
	time.Sleep(idleSettle)
	pid := host.cmd.Process.Pid
	before, began := cpuOfAll(pid), time.Now()
	time.Sleep(idleTime)
	got.share = (cpuOfAll(pid) - before).Seconds() / time.Since(began).Seconds()
	got.resident = resident(pid)
	return got, nil
}

// cpuOfAll is the CPU time so far of a process and of its children.
func cpuOfAll(pid int) time.Duration {
	sum := cpuTime(pid)
	for _, child := range children(pid) {
		sum += cpuTime(child)
	}
	return sum
}

// idleConfig has pipelines with a project each; with sources, a file for each, too.
func idleConfig(of build, dir string, pipelines int, sources bool) string {
	var c strings.Builder
	fmt.Fprintf(&c, "host {\n  data_dir   = %q\n  plugin_dir = %q\n  log_level  = \"error\"\n}\ndestination \"localfs\" \"out\" {\n  path = %q\n}\n",
		filepath.Join(dir, "data"), of.plugins(), filepath.Join(dir, "out"))
	from := time.Now().AddDate(0, 0, -7).UTC().Format(time.DateOnly)
	for i := range pipelines {
		fmt.Fprintf(&c, "project \"p%d\" {\n  id    = %d\n  token = \"token-%d\"\n}\n", i, i+1, i)
		fmt.Fprintf(&c, "pipeline \"p%d\" {\n  project     = \"p%d\"\n  stream      = \"events\"\n  destination = \"localfs.out\"\n  from_date   = %q\n}\n", i, i, from)
		if sources {
			fmt.Fprintf(&c, "source \"files\" \"p%d\" {\n  project = \"p%d\"\n  path    = %q\n}\n", i, i, filepath.Join(dir, "events", fmt.Sprintf("%d.json", i)))
		}
	}
	return c.String()
}
