package intake

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The days and users of the events of BenchmarkPull.
const (
	pulledDays = 10
	users      = 100_003
)

// BenchmarkPull pulls some days of events into the journal; the stand-in server runs
// in the same process and makes b.N events of about 700 bytes. Of the memory it
// reports the most that Go's heap had in use. The journal has a row for each event, and
// for each identity link.
func BenchmarkPull(b *testing.B) {
	h, server := openPulling(b, "")
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Truncate(24 * time.Hour)
	first := yesterday.AddDate(0, 0, 1-pulledDays)
	filler := strings.Repeat(`"property":"some value that is not too short",`, 9)
	server.Generate(func(date string, line func([]byte) error) error {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			return err
		}
		var e []byte
		for n := int(day.Sub(first) / (24 * time.Hour)); n < b.N; n += pulledDays {
			e = append(strconv.AppendInt(append(e[:0], `{"event":"Item `...), int64(n%50), 10), `","properties":{"time":`...)
			e = append(strconv.AppendInt(e, day.UnixMilli()+int64(n%86400000), 10), `,"distinct_id":"u`...)
			e = append(strconv.AppendInt(e, int64(n%users), 10), `","$device_id":"d`...)
			e = append(strconv.AppendInt(e, int64(n%users), 10), `","$user_id":"u`...)
			e = append(strconv.AppendInt(e, int64(n%users), 10), `","$insert_id":"event-`...)
			e = append(append(strconv.AppendUint(e, uint64(n)*0x9e3779b97f4a7c15, 36), `",`...), filler...)
			e = append(strconv.AppendInt(append(e, `"n":`...), int64(n), 10), "}}"...)
			if err := line(e); err != nil {
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
	summary, err := h.set.Pulls.Pull(b.Context(), "pull", first.Format(time.DateOnly), yesterday.Format(time.DateOnly), true)
	b.StopTimer()
	close(stop)
	<-ended
	if err != nil || summary.Error != "" || summary.Records != int64(b.N) || summary.Rows < int64(b.N) {
		b.Fatalf("%+v (%v)", summary, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(most)/(1<<20), "MiB")
	b.SetBytes(summary.Bytes / int64(b.N))
}
