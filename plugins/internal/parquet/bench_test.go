package parquet

import (
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// sample makes batches of about 1 MiB of events of some 764 bytes, whose values
// repeat as those of a web shop do.
func sample(batches int) (all []*batch.Batch, rows int) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range batches {
		var lines []destinationtest.Row
		for range 1370 {
			properties := fmt.Sprintf(`{"$browser":%q,"$browser_version":%d,"$city":%q,"$current_url":"https://shop.example.com/products/%d?ref=%s","$device":%q,"$insert_id":"%016x","$lib_version":"2.47.0","$mp_api_endpoint":"api.mixpanel.com","$mp_api_timestamp_ms":%d,"$os":%q,"$referrer":"https://www.google.com/","$referring_domain":"www.google.com","$region":%q,"$screen_height":%d,"$screen_width":%d,"cart_value":%d.%02d,"category":%q,"mp_country_code":%q,"mp_lib":"web","mp_processing_time_ms":%d,"tags":["a","b","%d"],"variant":%q}`,
				pick("Chrome", "Safari", "Firefox"), 90+random.IntN(50), pick("Berlin", "Paris", "San Francisco", "Mumbai"), random.IntN(100000), pick("mail", "ads", "home"),
				pick("iPhone", "Android", ""), random.Uint64(), 1780000000000+random.Int64N(1e9), pick("Mac OS X", "iOS", "Windows"), pick("Berlin", "California"),
				random.IntN(2000), random.IntN(3000), random.IntN(500), random.IntN(100), pick("shoes", "hats", "coats"), pick("DE", "US", "IN"), 1780000000000+random.Int64N(1e9),
				random.IntN(1000), pick("red", "green"))
			lines = append(lines, destinationtest.Row{Line: fmt.Sprintf(
				`{"device_id":"%016x","distinct_id":"user-%d","event_name":%q,"insert_id":"%016x","properties":%s,"time":%d,"user_id":"user-%d"}`,
				random.Uint64(), random.IntN(50000), pick("Page View", "Add to Cart", "Purchase"), random.Uint64(), properties, 1780000000+random.IntN(86400), random.IntN(50000))})
			rows++
		}
		all = append(all, destinationtest.NewBatch(lines...))
	}
	return all, rows
}

type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func BenchmarkWrite(b *testing.B) {
	batches, rows := sample(32)
	gzip := int64(0)
	bytes := 0
	for _, one := range batches {
		gzip += int64(len(one.Payload))
		bytes += one.RowsBytes
	}
	b.Logf("%d rows of %d bytes", rows, bytes/rows)
	b.ReportAllocs()
	var size counting
	before := cpuTime(b)
	for b.Loop() {
		size = counting{}
		if err := write(&size, batches); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/(cpuTime(b)-before).Seconds(), "rows/cpu-s")
	b.ReportMetric(float64(size.n)/float64(gzip), "size/gzip")
}

func write(w io.Writer, batches []*batch.Batch) error {
	out, err := NewWriter(w, batch.Events, "")
	if err != nil {
		return err
	}
	d := columns.NewDecoder(columns.Options{Stream: batch.Events})
	for _, one := range batches {
		if err := d.Batch(one, nil, func(row *columns.Row) error { out.Add(row); return nil }); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return out.Close()
}

// cpuTime returns the CPU time of the process so far. The rate of a busy machine
// tells nothing about the writer.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
