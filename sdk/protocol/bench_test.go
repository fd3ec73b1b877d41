//go:build unix

package protocol

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/penstock-io/penstock/sdk/batch"
)

// cpuTime returns the CPU time of the process so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSend sends batches over a unix socket to a destination that drops
// them, with gRPC's pool of buffers and with this package's. Both sides run in
// this process.
func BenchmarkSend(b *testing.B) {
	pools := []struct {
		name string
		pool mem.BufferPool
	}{{"grpc", mem.DefaultBufferPool()}, {"own", newBufferPool(retainedLimit)}}
	for _, size := range []int{64 << 10, 640 << 10, 1 << 20} {
		for _, p := range pools {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, p.name), func(b *testing.B) {
				e, err := connect(b, &echo{silent: true}, p.pool).Export(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				sent := &batch.Batch{Rows: 1, Payload: make([]byte, size)}
				crc := PayloadCRC32C(sent.Payload)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if err := e.SendWithChecksum(b.Context(), sent, crc); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := e.Prepare(b.Context(), batch.Totals{}); err != nil {
					b.Fatal(err)
				}
				mebibytes := float64(b.N) * float64(size) / (1 << 20)
				b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/mebibytes, "cpu-µs/MiB")
			})
		}
	}
}
