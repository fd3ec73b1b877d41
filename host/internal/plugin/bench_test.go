package plugin

import (
	"context"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
)

func benchManager(b *testing.B) *Manager {
	b.Helper()
	d := install(b, "good")
	m := NewManager(Options{Dir: d.Path(), CacheDir: b.TempDir(), RunDir: shortTemp(b)})
	b.Cleanup(func() { m.Stop(context.Background()) })
	return m
}

// BenchmarkStartStop is verifying, starting, asking for health, draining and
// ending.
func BenchmarkStartStop(b *testing.B) {
	m := benchManager(b)
	ctx := context.Background()
	for b.Loop() {
		d := m.Destination("good", "bench")
		if err := d.Start(ctx); err != nil {
			b.Fatal(err)
		}
		d.Stop(ctx)
	}
}

// BenchmarkSend is the way of a batch to a plugin that only counts it.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			ctx := context.Background()
			d := benchManager(b).Destination("good", "bench")
			x, err := d.Export(ctx, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer x.Close()
			one := &batch.Batch{Rows: 1, Payload: make([]byte, size)}
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := send(ctx, x, one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
