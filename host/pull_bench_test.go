package host

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkPull pulls a day of events into the journal; the stand-in server runs in
// the same process and makes b.N events of about 700 bytes. Of the memory it reports
// the most that Go's heap had in use.
func BenchmarkPull(b *testing.B) {
	h, server := openPulling(b, "")
	day := time.Now().UTC().AddDate(0, 0, -2).Truncate(24 * time.Hour)
	filler := strings.Repeat(`"property":"some value that is not too short",`, 9)
	server.Generate(func(date string, line func(string) error) error {
		if date != day.Format(time.DateOnly) {
			return nil
		}
		for n := range b.N {
			err := line(fmt.Sprintf(`{"event":"Item %d","properties":{"time":%d,"distinct_id":"u%d","$insert_id":"%036d",%s"n":%d}}`,
				n%50, day.UnixMilli()+int64(n%86400000), n%100000, n, filler, n))
			if err != nil {
				return err
			}
		}
		return nil
	})
	most, stop := uint64(0), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse+m.StackInuse)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	b.ResetTimer()
	summary, err := h.PullSource(b.Context(), "pull", day.Format(time.DateOnly), day.Format(time.DateOnly))
	b.StopTimer()
	close(stop)
	<-ended
	if err != nil || summary.Error != "" || summary.Records != int64(b.N) {
		b.Fatalf("%+v (%v)", summary, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(most)/(1<<20), "MiB")
	b.SetBytes(summary.Bytes / int64(b.N))
}
