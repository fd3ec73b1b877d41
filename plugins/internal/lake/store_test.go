package lake_test

import (
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
)

func TestMemoryIsAStore(t *testing.T) {
	for name, service := range laketest.Services() {
		for _, c := range laketest.Checks() {
			t.Run(name+": "+c.Name, func(t *testing.T) {
				if err := c.Run(t.Context(), laketest.NewMemoryLike(service).AsStore(), "dir/"); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
