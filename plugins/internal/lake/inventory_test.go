package lake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// An inventory that would hold too many objects asks for fewer days, which it takes.
func TestAnInventoryIsLimited(t *testing.T) {
	s := laketest.NewMemory()
	for n := range int64(4) {
		mustExport(t, newLake(s), events(n+1, n+1), days{"2026-06-01": 1, "2026-06-02": 1})
	}
	l := lake.New(lake.Options{Store: s, Root: "exports", InventoryLimit: 7})
	objects := 0
	count := func(i sdk.InventoryItem) error {
		if i.Kind == sdk.InventoryObject && i.Recorded != nil && i.Found != nil {
			objects++
		}
		return nil
	}
	err := l.Inventory(t.Context(), sdk.InventoryQuery{Run: events(0, 0)}, count)
	var e *sdk.Error
	if !errors.As(err, &e) || protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(e.Hint, "--from") {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	objects = 0
	if err := l.Inventory(t.Context(), sdk.InventoryQuery{Run: events(0, 0), From: "2026-06-02", To: "2026-06-02"}, count); err != nil || objects != 4 {
		t.Errorf("%d objects of one day, %v", objects, err)
	}
}

// A receipt that names an object in a form that no run writes is damaged.
func TestOddNamesInAReceipt(t *testing.T) {
	for _, odd := range []string{"-0001.json.gz", "-000001.json.gz"} {
		s := exported(t)
		err := laketest.EditManifest(t.Context(), s, firstReceipt, func(m map[string]any) {
			file := m["partitions"].([]any)[0].(map[string]any)["files"].([]any)[0].(map[string]any)
			file["name"] = strings.Replace(fmt.Sprint(file["name"]), "-0001.json.gz", odd, 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := problems(t, s, events(0, 0))
		if damaged := found[firstReceipt] != ""; damaged != (odd != "-0001.json.gz") {
			t.Errorf("%s: problems are %v", odd, found)
		}
	}
}
