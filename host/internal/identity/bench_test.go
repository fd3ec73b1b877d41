package identity_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// benchLinks is how many links are folded.
const benchLinks = 2_000_000

// BenchmarkFold folds 2,000,000 links of a journal on disk into mappings, from
// nothing, and then 20,000 more. Memory is the most that was resident while
// it did, the journal's reader included.
func BenchmarkFold(b *testing.B) {
	for name, rules := range map[string]schema.Identity{"simplified": schema.Simplified, "original": schema.Original} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				benchFold(b, rules)
			}
		})
	}
}

func benchFold(b *testing.B, rules schema.Identity) {
	dir := b.TempDir()
	j := newJournal(b, dir)
	w := j.writer(b)
	appendLinks(b, w, rules, 0, benchLinks)
	seq := j.seal(b, w)
	appendLinks(b, w, rules, benchLinks, benchLinks+benchLinks/100)
	after := j.seal(b, w)
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	debug.FreeOSMemory()
	forgetPeak(b)

	x, err := identity.Open(identity.Options{Dir: filepath.Join(dir, "identity"), Rules: rules, Journal: j})
	if err != nil {
		b.Fatal(err)
	}
	store := generation.New(j.store, project, batch.Identity)
	wall, cpu := time.Now(), cpuTime(b)
	g, err := x.Generation(b.Context(), store, nil, seq)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(wall).Seconds(), "s/fold")
	b.ReportMetric((cpuTime(b) - cpu).Seconds(), "s-CPU/fold")
	wall, cpu = time.Now(), cpuTime(b)
	if _, err = x.Generation(b.Context(), store, g, after); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(wall).Seconds(), "s/more")
	b.ReportMetric((cpuTime(b) - cpu).Seconds(), "s-CPU/more")
	b.ReportMetric(peak(b), "MiB")
	b.ReportMetric(benchLinks, "links")
	b.ReportMetric(float64(g.Rows), "mappings")
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// appendLinks appends the links from ≤ n < to: of one user in ten many ids, of
// the others two on average.
func appendLinks(b *testing.B, w appender, rules schema.Identity, from, to int) {
	var links []schema.Link
	for n := from; n < to; n++ {
		r := rand.New(rand.NewPCG(7, uint64(n)))
		user := r.IntN(benchLinks / 2)
		if r.IntN(2) == 0 {
			user = r.IntN(benchLinks / 20)
		}
		l := schema.Link{
			AnonymousID:  guid(r.Uint64(), r.Uint64()),
			IdentifiedID: fmt.Sprintf("user-%08d@example.com", user),
			Time:         firstDay + int64(n/1000),
			Verb:         schema.VerbIdentify,
		}
		switch {
		case rules == schema.Simplified:
			l.AnonymousID, l.Verb = "$device:"+l.AnonymousID, schema.VerbLink
		case n%20 == 0:
			l.Verb, l.AnonymousID = schema.VerbMerge, fmt.Sprintf("user-%08d@example.com", r.IntN(benchLinks/2))
		}
		if links = append(links, l); len(links) == 5000 || n == to-1 {
			if err := w.Append(b.Context(), chunkOf(links)); err != nil {
				b.Fatal(err)
			}
			links = links[:0]
		}
	}
}

// guid is a UUID of version 4.
func guid(a, c uint64) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], a)
	binary.BigEndian.PutUint64(id[8:], c)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak resets the peak that peak returns.
func forgetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// peak returns the most memory that was resident since forgetPeak, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
