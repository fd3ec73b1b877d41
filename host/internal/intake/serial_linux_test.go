package intake

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/files"
)

// stage counts the processor time of the goroutine that calls it.
type stage struct {
	locked bool
	used   atomic.Int64 // nanoseconds
}

// do calls fn on a thread of the goroutine's own, whose time is counted.
func (s *stage) do(fn func()) {
	if !s.locked {
		runtime.LockOSThread() // the thread ends with the goroutine
		s.locked = true
	}
	before := used(unix.CLOCK_THREAD_CPUTIME_ID)
	fn()
	s.used.Add(int64(used(unix.CLOCK_THREAD_CPUTIME_ID) - before))
}

// used returns the processor time of the thread or of the process.
func used(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// reading is a source whose reader is a stage.
type reading struct {
	ingest.Source
	stage
}

func (r *reading) Next(ctx context.Context) (p *ingest.Piece, err error) {
	r.do(func() { p, err = r.Source.Next(ctx) })
	return p, err
}

// appending is an appender that is a stage.
type appending struct {
	ingest.Appender
	stage
}

func (a *appending) Append(ctx context.Context, c journal.Chunk) (err error) {
	a.do(func() { err = a.Appender.Append(ctx, c) })
	return err
}

// BenchmarkSerial reads 200,000 events of 735 bytes into a journal, and prints the
// processor time, in µs per event, of the stages of a project that work in one goroutine
// each: the reader, and the appender to the journal. However many processors there are, a
// project takes no more events than its slowest stage. Time that a stage waits is not
// counted. The last number is that of the whole process.
//
// Compressed files are decompressed in a goroutine of their own, which is a stage too: its
// time is that of the process less that of the same file, not compressed.
func BenchmarkSerial(b *testing.B) {
	const events = 200_000
	lines := serialEvents(events)
	array := append([]byte("["), bytes.ReplaceAll(lines[:len(lines)-1], []byte("\n"), []byte(","))...)
	for _, kind := range []struct {
		name string
		data []byte
	}{{"lines", lines}, {"array", append(array, ']')}, {"lines.gz", levelOne(b, lines)}} {
		for _, processors := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/processors=%d", kind.name, processors), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				dir := b.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "a.json"), kind.data, 0o600); err != nil {
					b.Fatal(err)
				}
				var reader, appender, all time.Duration
				for b.Loop() {
					before := used(unix.CLOCK_PROCESS_CPUTIME_ID)
					r, a := readSerially(b, dir, events)
					all += used(unix.CLOCK_PROCESS_CPUTIME_ID) - before
					reader, appender = reader+r, appender+a
				}
				for name, d := range map[string]time.Duration{"reader": reader, "appender": appender, "process": all} {
					b.ReportMetric(d.Seconds()*1e6/float64(b.N)/events, "µs/event-"+name)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// readSerially reads the files of a directory into a new journal, and returns the time of
// the stages.
func readSerially(b *testing.B, dir string, events int64) (reader, appender time.Duration) {
	s := openSite(b, `
project "shop" {
  id = 1
}
source "files" "in" {
  project = "shop"
  path    = "./none/*"
}
`)
	w, err := s.project.Journal.Writer(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	source, err := files.Open(b.Context(), files.Options{Name: "files.in", Pattern: dir + "/*"})
	if err != nil {
		b.Fatal(err)
	}
	from, to := &reading{Source: source}, &appending{Appender: w}
	var counters ingest.Counters
	ended := make(chan error)
	go func() { // the thread of the appender is this goroutine's
		ended <- ingest.Run(b.Context(), ingest.Options{
			Source: from, Appender: to, Rejects: rejects{s.quarantine, "files.in"}, Now: time.Now, Counters: &counters, Packer: w.NewPacker, Refused: func(schema.Reason) {},
		})
	}()
	if err := <-ended; err != nil || counters.Rows.Load() != events {
		b.Fatal(counters.Rows.Load(), err)
	}
	if err := w.Seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := source.Close(); err != nil {
		b.Fatal(err)
	}
	return time.Duration(from.used.Load()), time.Duration(to.used.Load())
}

// serialEvents returns lines of events of 735 bytes.
func serialEvents(count int) []byte {
	var properties strings.Builder
	for i := range 18 {
		fmt.Fprintf(&properties, `,"$%c_property":"a value of it"`, 'a'+i)
	}
	var b bytes.Buffer
	for n := range count {
		fmt.Fprintf(&b, `{"event":"Product Viewed","properties":{"time":%d,"distinct_id":"user-%d","$insert_id":"%032x"%s}}`+"\n", 1780000000+n, n%5000, n*7919, properties.String())
	}
	return b.Bytes()
}

func levelOne(b *testing.B, data []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, 1)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}
