package keysort_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/keysort"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// cpuTime is the processor time of this process so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSort reports processor time per key, of a Sorter and of the standard
// library's sort of the same keys, alternating, and their ratio. The inputs are
// those of the journal: one block of 1,300 rows, one small block, and a day's
// keys of a segment, which come block by block, each block sorted. Every round
// has other keys, so that the processor learns no order.
func BenchmarkSort(b *testing.B) {
	for _, shape := range []struct{ runs, length int }{{1, 60}, {1, 1300}, {25, 1300}, {100, 1300}} {
		b.Run(fmt.Sprintf("%dx%d", shape.runs, shape.length), func(b *testing.B) {
			const keysPerRound = 200_000
			r := rand.New(rand.NewPCG(1, 2))
			total := shape.runs * shape.length
			inputs := make([][][]segment.Key, max(keysPerRound/total, 1))
			for i := range inputs {
				inputs[i] = spread(r, shape.runs, shape.length)
			}
			var s keysort.Sorter
			sorted := make([]segment.Key, 0, total)
			var bucketed, compared time.Duration
			for b.Loop() {
				start := cpuTime(b)
				for _, runs := range inputs {
					s.Sort(runs...)
					sorted = sorted[:0]
					for i := range s.Len() {
						run, index := s.At(i)
						sorted = append(sorted, runs[run][index])
					}
				}
				middle := cpuTime(b)
				for _, runs := range inputs {
					sorted = sorted[:0]
					for _, run := range runs {
						sorted = append(sorted, run...)
					}
					slices.SortFunc(sorted, segment.Key.Compare)
				}
				bucketed += middle - start
				compared += cpuTime(b) - middle
			}
			keys := float64(b.N) * float64(len(inputs)) * float64(total)
			b.ReportMetric(float64(bucketed)/keys, "ns-CPU/key")
			b.ReportMetric(float64(compared)/keys, "ns-CPU/key-by-comparison")
			b.ReportMetric(float64(compared)/float64(bucketed), "×")
		})
	}
}

// spread makes runs of keys. Several runs are sorted, as the keys of blocks are.
func spread(r *rand.Rand, runs, length int) [][]segment.Key {
	made := make([][]segment.Key, runs)
	for i := range made {
		made[i] = make([]segment.Key, length)
		for j := range made[i] {
			made[i][j] = newKey(r.Uint64(), r.Uint64())
		}
		if runs > 1 {
			slices.SortFunc(made[i], segment.Key.Compare)
		}
	}
	return made
}
