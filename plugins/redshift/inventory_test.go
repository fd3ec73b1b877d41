package redshift

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// problems returns the problems of an inventory's objects, by date.
func (p *process) problems(t *testing.T, run sdk.Run) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := p.Inventory(t.Context(), sdk.InventoryQuery{Run: run}, func(i sdk.InventoryItem) error {
		if i.Problem != "" {
			found[i.Date] = i.Problem
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An inventory finds days that the catalog does not show, and a repair of their run
// registers them: one that was dropped, one at another place, and all of a table that
// was dropped.
func TestDaysThatTheCatalogDoesNotShow(t *testing.T) {
	s, bucket, runs := exported(t, sdk.Events, 2)
	look := func() map[string]string { return s.start(t, bucket, time.Now).problems(t, runs[1]) }
	if found := look(); len(found) > 0 {
		t.Fatalf("problems are %v", found)
	}
	fence := int64(10)
	repair := func() {
		t.Helper()
		for _, run := range runs {
			fence++
			run.Fence, run.Repair = fence, &sdk.Repair{Partitions: 2}
			if err := s.start(t, bucket, time.Now).export(t.Context(), run); err != nil {
				t.Fatal(err)
			}
		}
		if found := look(); len(found) > 0 {
			t.Errorf("after a repair problems are %v", found)
		}
		s.expectEvents(t, bucket, runs...)
	}

	s.glue.DropPartition("mp", "mp_master_event", "2026-06-02")
	if found := look(); len(found) != 1 || !strings.Contains(found["2026-06-02"], "mp_date=2026-06-02 is not registered in Glue") {
		t.Errorf("problems are %v", found)
	}
	repair()

	s.glue.DropPartition("mp", "mp_master_event", "2026-05-01")
	if err := s.start(t, bucket, time.Now).catalog.addDays(t.Context(), map[string]string{"2026-05-01": "elsewhere/"}); err != nil {
		t.Fatal(err)
	}
	if found := look(); len(found) != 1 || !strings.Contains(found["2026-05-01"], "shows s3://lake/elsewhere/") {
		t.Errorf("problems are %v", found)
	}
	repair()

	s.glue.Drop("mp", "mp_master_event")
	if found := look(); len(found) != 3 {
		t.Errorf("problems are %v, want one for each day", found)
	}
	repair()
}
