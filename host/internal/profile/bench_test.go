package profile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

const (
	benchProfiles   = 1_000_000
	benchOperations = 5_000_000
)

// journaled are operations in a file, as blocks that lie one behind the other.
type journaled struct {
	path    string
	blocks  []journal.Block // without their payloads
	lengths []int           // of these
}

// write makes operations: each profile's first one sets ten properties, the
// others are those that an SDK sends for a visit.
func (j *journaled) write(b *testing.B) {
	b.Helper()
	f, err := os.Create(j.path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 1))
	encoder := segment.NewEncoder()
	var rows []byte
	count := 0
	flush := func() {
		block, err := encoder.Encode(rows, count, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(block.Payload); err != nil {
			b.Fatal(err)
		}
		j.lengths = append(j.lengths, len(block.Payload))
		block.Payload = nil
		j.blocks = append(j.blocks, block)
		rows, count = rows[:0], 0
	}
	for i := range benchOperations {
		n := i
		if i >= benchProfiles {
			n = r.IntN(benchProfiles)
		}
		o := schema.Operation{
			DistinctID: fmt.Sprintf("%08x-%04x-4%03x-9000-%012x", uint32(n*2654435761), n&0xffff, n&0xfff, n),
			Time:       1780315200000 + int64(i), LastSeen: true,
		}
		o.Verb, o.Value = benchOperation(r, i, n)
		rows = schema.AppendOperation(rows, o)
		if count++; len(rows) > 1<<20-2000 {
			flush()
		}
	}
	flush()
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

func benchOperation(r *rand.Rand, i, n int) (schema.Verb, []byte) {
	if i < benchProfiles {
		return schema.Set, fmt.Appendf(nil, `{"$name":"Customer %d","$email":"c%d@example.com","$city":"Springfield","$region":"Oregon","mp_country_code":"US",`+
			`"$os":"iOS","$browser":"Safari","plan":"team","seats":%d,"tags":["new","trial"]}`, n, n, n%50)
	}
	switch i % 8 {
	case 0:
		return schema.Add, fmt.Appendf(nil, `{"visits":1,"spent":%d.%02d}`, r.IntN(200), r.IntN(100))
	case 1:
		return schema.Append, fmt.Appendf(nil, `{"pages":"/products/%d"}`, r.IntN(5000))
	case 2:
		return schema.Union, fmt.Appendf(nil, `{"tags":["new","seg-%d"]}`, r.IntN(40))
	case 3:
		return schema.SetOnce, []byte(`{"$created":"2026-06-01T12:00:00","initial_referrer":"https://example.com/"}`)
	case 4:
		return schema.Remove, []byte(`{"tags":"trial"}`)
	case 5:
		return schema.Unset, []byte(`["seats"]`)
	default:
		return schema.Set, fmt.Appendf(nil, `{"plan":"pro","last_page":"/products/%d","$app_version_string":"4.%d.0"}`, r.IntN(5000), r.IntN(30))
	}
}

// read hands out the blocks.
func (j *journaled) read(_ context.Context, fn func(journal.Block) error) error {
	f, err := os.Open(j.path)
	if err != nil {
		return err
	}
	defer f.Close()
	var payload []byte
	for i, block := range j.blocks {
		payload = append(payload[:0], make([]byte, j.lengths[i])...)
		if _, err := io.ReadFull(f, payload); err != nil {
			return err
		}
		block.Payload = payload
		if err := fn(block); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime is the processor time that the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeak resets the kernel's record of the largest resident memory.
func resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
}

// peak is the most that was resident since then, in MiB; 0 where the kernel
// does not say.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// BenchmarkFold folds 5,000,000 operations on 1,000,000 profiles, and then, a
// day's work, 50,000 more, on disk. It reports wall clock time, processor
// time, and the largest resident memory.
func BenchmarkFold(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		store, err := disk.OpenDir(filepath.Join(dir, "blobs"))
		if err != nil {
			b.Fatal(err)
		}
		spill, err := disk.OpenDir(filepath.Join(dir, "spill"))
		if err != nil {
			b.Fatal(err)
		}
		j := &journaled{path: filepath.Join(dir, "operations")}
		j.write(b)
		f := New(Options{Generations: generation.New(store, 1, batch.People), Spill: spill, Dir: "people"})
		resetPeak(b)
		g := timed(b, "fold", func() (*pipeline.Generation, error) {
			g, _, err := f.Next(b.Context(), nil, 1, j.read)
			return g, err
		})
		b.ReportMetric(peak(b), "MiB/fold")
		if g.Rows != benchProfiles {
			b.Fatalf("%d profiles", g.Rows)
		}
		j.blocks = j.blocks[:len(j.blocks)/100]
		timed(b, "next", func() (*pipeline.Generation, error) {
			g, _, err := f.Next(b.Context(), g, 2, j.read)
			return g, err
		})
		b.ReportMetric(float64(g.Bytes)/(1<<20), "MiB/generation")
	}
}

// timed reports how long a fold takes.
func timed(b *testing.B, name string, fn func() (*pipeline.Generation, error)) *pipeline.Generation {
	b.Helper()
	start, used := time.Now(), cpuTime(b)
	g, err := fn()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "s/"+name)
	b.ReportMetric((cpuTime(b) - used).Seconds(), "CPU-s/"+name)
	return g
}
