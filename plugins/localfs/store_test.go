package localfs

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
)

func TestStore(t *testing.T) {
	for _, c := range laketest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Run(t.Context(), newStore(t.TempDir()), "a/b/"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Several writers write one object in turns. Each must learn the version of its
// own write, and never a later one.
func TestAVersionIsItsWriters(t *testing.T) {
	s := newStore(t.TempDir())
	var mu sync.Mutex
	writers := map[lake.Version]string{}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				_, prev, err := s.Read(t.Context(), "manifest", 100)
				if err != nil && !errors.Is(err, lake.ErrNotFound) {
					t.Error(err)
					return
				}
				writer := fmt.Sprintf("writer %d, %d", i, n)
				made, err := s.WriteIf(t.Context(), "manifest", []byte(writer), prev)
				if errors.Is(err, lake.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other := writers[made]; other != "" {
					t.Errorf("%s and %s have both made version %s", other, writer, made)
				}
				writers[made] = writer
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
