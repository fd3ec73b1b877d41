package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/upkeep"
)

// sealedFiles is how many segments a benchmark of a pass begins with.
const sealedFiles = 1000

// typical returns a rendered event of about 760 bytes.
func typical(r *rand.Rand, n int, at int64) []byte {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	return fmt.Appendf(nil, `{"device_id":"$device:%016x","distinct_id":"user-%d","event_name":%q,"insert_id":"%016x%08x","properties":{"time":%d,"$browser":%q,"$browser_version":%d,`+
		`"$city":%q,"$current_url":"https://shop.example.com/%s/%d?utm_source=%s&session=%016x","$device_id":"%016x","$initial_referrer":"$direct","$initial_referring_domain":"$direct",`+
		`"$insert_id":"%016x%08x","$lib_version":"2.55.0","$os":%q,"$region":%q,"$screen_height":1080,"$screen_width":1920,"mp_country_code":%q,"mp_lib":"web","cart_value":%d.%02d,`+
		`"items":%d,"experiment":%q,"plan":%q},"time":%d,"user_id":"user-%d"}`+"\n",
		r.Uint64(), r.IntN(5000), pick("Page View", "Add to Cart", "Checkout", "Search"), r.Uint64(), n, at, pick("Chrome", "Safari", "Firefox"), 100+r.IntN(30),
		pick("Berlin", "Zürich", "Lyon", "Oslo", "Porto"), pick("product", "category", "cart"), r.IntN(10000), pick("news", "ads", "mail"), r.Uint64(), r.Uint64(),
		r.Uint64(), n, pick("Mac OS X", "Windows", "Android", "iOS"), pick("BE", "ZH", "ARA", "OS"), pick("DE", "CH", "FR", "NO"), r.IntN(900), r.IntN(100),
		1+r.IntN(9), pick("a", "b", "control"), pick("free", "pro", "team"), at, r.IntN(5000))
}

// years makes a journal of segments with some rows each, of two days, and a pass over it.
func years(b *testing.B, rows int, now *time.Time) (*upkeep.Upkeep, *catalog.Catalog, *journal.Reader) {
	b.Helper()
	dir := b.TempDir()
	store, err := disk.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	c, err := catalog.Open(b.Context(), filepath.Join(dir, "catalog.db"), "host")
	if err == nil {
		err = c.RegisterProject(b.Context(), project, "shop", "UTC")
	}
	if err != nil {
		b.Fatal(err)
	}
	w, err := journal.Open(b.Context(), journal.Options{Project: project, Store: store, Catalog: c, Now: func() time.Time { return *now }})
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range sealedFiles {
		chunk := journal.Chunk{}
		for i := range rows {
			at := now.Unix() - int64(86400*(i%2))
			l := typical(r, n*rows+i, at)
			chunk.Rows = append(chunk.Rows, journal.Row{Offset: len(chunk.Data), Length: len(l), Time: at, Key: keyOf(fmt.Sprint(n, i)), Kind: journal.KindEvents})
			chunk.Data = append(chunk.Data, l...)
		}
		if err := errors.Join(w.Append(b.Context(), chunk), w.Seal(b.Context())); err != nil {
			b.Fatal(err)
		}
		*now = now.Add(30 * time.Second)
	}
	reader := journal.NewReader(project, store, c)
	b.Cleanup(func() {
		if err := errors.Join(w.Close(), reader.Close(), c.Close()); err != nil {
			b.Error(err)
		}
	})
	return upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return []upkeep.Project{{ID: project, Name: "shop", Reader: reader}} }, Store: store, Catalog: c, Retention: func() time.Duration { return retention },
		Now: func() time.Time { return *now }, Wait: lifecycle.Wait, Log: slog.New(slog.DiscardHandler),
	}), c, reader
}

// exporting reads all rows again and again, as runs of pipelines do, until stop is
// called, which returns the bytes that were read.
func exporting(b *testing.B, c *catalog.Catalog, reader *journal.Reader) (stop func() int64) {
	ctx, cancel := context.WithCancel(b.Context())
	var refs []journal.ExtentRef
	err := c.Extents(ctx, project, journal.KindEvents, 0, 1<<62, func(_ int64, extents []pipeline.Extent) error {
		for _, e := range extents {
			refs = append(refs, e.Ref)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var read atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			var gone *journal.RemovedError
			err := reader.Extent(ctx, refs[i%len(refs)], func(k journal.Block) error {
				read.Add(int64(len(k.Payload)))
				return nil
			})
			if err != nil && ctx.Err() == nil && !errors.As(err, &gone) {
				b.Errorf("export: %v", err)
				return
			}
		}
	}()
	return func() int64 {
		cancel()
		<-done
		return read.Load()
	}
}

// BenchmarkUpkeep measures a pass over 1,000 segments while rows are read: it brings
// them together, or removes them.
func BenchmarkUpkeep(b *testing.B) {
	for _, rows := range []int{20, 500} {
		for name, later := range map[string]time.Duration{"compaction": 2 * time.Hour, "retention": 3 * retention} {
			b.Run(fmt.Sprintf("%s/%d", name, rows), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					now := firstDay
					u, c, reader := years(b, rows, &now)
					now = now.Add(later)
					stop := exporting(b, c, reader)
					began := time.Now()
					b.StartTimer()
					report, err := u.Pass(b.Context(), 0)
					b.StopTimer()
					took := time.Since(began)
					read := stop()
					if err != nil || report.Rewritten < sealedFiles {
						b.Fatalf("%+v, %v", report, err)
					}
					b.ReportMetric(float64(report.Rewritten)/took.Minutes(), "segments/min")
					b.ReportMetric(float64(report.Written), "files")
					b.ReportMetric(float64(report.BytesFreed)/(1<<20), "MiB-freed")
					b.ReportMetric(float64(read)/took.Seconds()/(1<<20), "MiB/s-exported")
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkSmallBlocks measures what rows take in blocks of some rows, and what it
// would cost to compress them again in blocks of 1 MiB.
func BenchmarkSmallBlocks(b *testing.B) {
	for _, rows := range []int{3, 10, 50, 200} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			encoder := segment.NewRowEncoder(nil)
			var small []segment.Block
			var plain, stored int
			for n := 0; plain < 8<<20; {
				var block []byte
				for range rows {
					block = append(block, typical(r, n, firstDay.Unix())...)
					n++
				}
				k, err := encoder.Encode(block, rows, 0)
				if err != nil {
					b.Fatal(err)
				}
				small = append(small, k)
				plain, stored = plain+len(block), stored+len(k.Payload)
			}
			var again, total int
			var decoder segment.Decoder
			for b.Loop() {
				again, total = 0, 0
				var joined []byte
				for i, k := range small {
					var err error
					if joined, err = decoder.Decode(joined, k); err != nil {
						b.Fatal(err)
					}
					total += k.Rows
					if len(joined) < 1<<20 && i < len(small)-1 {
						continue
					}
					large, err := encoder.Encode(joined, 1, 0)
					if err != nil {
						b.Fatal(err)
					}
					again += len(large.Payload)
					joined = joined[:0]
				}
			}
			b.ReportMetric(float64(plain)/float64(stored), "ratio")
			b.ReportMetric(float64(plain)/float64(again), "ratio-again")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*total), "µs/row-again")
		})
	}
}
