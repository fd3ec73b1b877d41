package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
)

type nowhere struct{}

func (nowhere) Append(context.Context, journal.Chunk) error           { return nil }
func (nowhere) Put(string, int, int64, int64, []ingest.Refusal) error { return nil }

// BenchmarkIngest reads, parses and renders a file of 100,000 events of 735
// bytes, on all processors.
func BenchmarkIngest(b *testing.B) {
	var e strings.Builder
	e.WriteString(`{"event":"Product Viewed","properties":{"time":1780000000,"distinct_id":"3f7c1a52-8f0e-4f5c-9d3e-7a1b2c3d4e5f","$insert_id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890"`)
	for i := range 19 {
		fmt.Fprintf(&e, `,"$%c_property":"a value of it"`, 'a'+i)
	}
	event := e.String() + "}}\n"
	const events = 100_000
	for name, data := range map[string]string{"lines": strings.Repeat(event, events), "array": "[" + strings.Repeat(event[:len(event)-1]+",", events) + "{}]"} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			write(b, dir, "a.json", data)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s, err := Open(b.Context(), Options{Name: "files.in", Pattern: dir + "/*"})
				if err != nil {
					b.Fatal(err)
				}
				var counters ingest.Counters
				err = ingest.Run(b.Context(), ingest.Options{Source: s, Appender: nowhere{}, Rejects: nowhere{}, Now: time.Now, Counters: &counters})
				if err != nil || counters.Rows.Load() != events {
					b.Fatal(counters.Rows.Load(), err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/events, "µs/event")
		})
	}
}

// BenchmarkTurns reads eight compressed files of 25,000 events into pieces, which nothing
// parses: one after the other, and in turns of two. The time of the clock tells them apart,
// on processors that nothing else uses.
func BenchmarkTurns(b *testing.B) {
	dir := b.TempDir()
	for file := range 8 {
		var lines strings.Builder
		for n := range 25_000 {
			fmt.Fprintf(&lines, `{"event":"Product Viewed","properties":{"time":%d,"$insert_id":"%x"`, 1780000000+n, sha256.Sum256(fmt.Append(nil, file, n)))
			for i := range 19 {
				fmt.Fprintf(&lines, `,"$%c_property":"a value of it"`, 'a'+i)
			}
			lines.WriteString("}}\n")
		}
		write(b, dir, fmt.Sprintf("%d.gz", file), gz(lines.String()))
	}
	for _, width := range []int{1, 2} {
		b.Run(fmt.Sprintf("width=%d", width), func(b *testing.B) {
			for b.Loop() {
				s, err := Open(b.Context(), Options{Name: "files.in", Pattern: dir + "/*"})
				if err != nil {
					b.Fatal(err)
				}
				s.turns.width, s.turns.depth = width, width-1
				for {
					p, err := s.Next(b.Context())
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					p.Release()
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/200_000, "µs/event")
		})
	}
}
