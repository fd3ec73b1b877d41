package lake_test

import (
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
)

func TestMemoryIsAStore(t *testing.T) {
	for _, c := range laketest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), laketest.NewMemory(), "dir/"); err != nil {
				t.Fatal(err)
			}
		})
	}
}
