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

// copied makes batches of about 1 MiB of events of a number of people, who have their
// ids in properties too, as Mixpanel's exports do: NDJSON has both within a line, and
// columns have each by itself.
func copied(batches int, people uint64) (all []*batch.Batch, rows int) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	at := int64(1780272000)
	for range batches {
		var lines []destinationtest.Row
		for range 1200 {
			at += int64(random.IntN(2))
			person := random.Uint64N(people)
			id, device, insert := fmt.Sprintf("user-%016x", person*0x9E3779B97F4A7C15), fmt.Sprintf("%016x", person*0xD1B54A32D192ED03), fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
			properties := fmt.Sprintf(`{"$insert_id":%q,"$device_id":%q,"$user_id":%q,"$browser":%q,"$browser_version":%d,"$os":%q,"$city":%q,"$screen_height":1080,"$screen_width":1920,"$lib_version":"2.65.0","mp_lib":"web","$current_url":"https://shop.example.com%s?utm_source=newsletter&session=%012x","$referrer":"https://www.google.com/","$referring_domain":"www.google.com","$initial_referrer":"$direct","price":%d.99,"quantity":%d,"currency":"EUR","plan":"pro","logged_in":true,"experiment":["a","control"],"mp_processing_time_ms":%d}`,
				insert, device, id, pick("Chrome", "Safari", "Firefox", "Edge"), 90+random.IntN(50), pick("Windows", "Mac OS X", "iOS", "Android"), pick("Berlin", "Paris", "San Francisco", "Mumbai"),
				pick("/", "/products", "/cart", "/checkout", "/search"), random.Uint64()>>16, random.IntN(500), 1+random.IntN(9), at*1000+random.Int64N(90000))
			lines = append(lines, destinationtest.Row{Line: fmt.Sprintf(
				`{"device_id":%q,"distinct_id":%q,"event_name":%q,"insert_id":%q,"properties":%s,"time":%d,"user_id":%q}`,
				device, id, pick("Page View", "Add to Cart", "Purchase", "Search"), insert, properties, at, id)})
			rows++
		}
		all = append(all, destinationtest.NewBatch(lines...))
	}
	return all, rows
}

type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// The sizes are next to those of gzip NDJSON.
func BenchmarkWrite(b *testing.B) {
	batches, rows := sample(32)
	benchmarkWrite(b, batches, rows)
}

// A copy of the ids in properties is the price of columns; a dictionary pays where the
// ids repeat within a row group.
func BenchmarkWriteCopied(b *testing.B) {
	for _, people := range []uint64{2_000, 20_000, 1 << 18} {
		b.Run(fmt.Sprint(people), func(b *testing.B) {
			batches, rows := copied(64, people)
			benchmarkWrite(b, batches, rows)
		})
	}
}

func benchmarkWrite(b *testing.B, batches []*batch.Batch, rows int) {
	b.Helper()
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
