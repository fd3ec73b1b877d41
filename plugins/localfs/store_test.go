package localfs

import (
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
)

func TestStore(t *testing.T) {
	for _, c := range laketest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Run(t.Context(), &store{root: t.TempDir()}, "a/b/"); err != nil {
				t.Fatal(err)
			}
		})
	}
}
