package lake_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
)

const (
	firstReceipt = "exports/42/_penstock/mp_master_event/runs/events_to_out-c0ffee/00000001.json"
	lastReceipt  = "exports/42/_penstock/mp_master_event/runs/events_to_out-c0ffee/00000002.json"
)

// problems returns the problems of an inventory by object, and its totals by
// date.
func problems(t *testing.T, s *laketest.Memory, run sdk.Run) (found map[string]string, rows map[string]uint64) {
	t.Helper()
	found, rows = make(map[string]string), make(map[string]uint64)
	err := newLake(s).Inventory(t.Context(), sdk.InventoryQuery{Run: run}, func(i sdk.InventoryItem) error {
		if i.Problem != "" {
			found[i.Object] = i.Problem
		}
		if i.Kind == sdk.InventoryTotals {
			rows[i.Date] = i.Recorded.Rows
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, rows
}

// repairRun repairs a run of which all partitions are sent.
func repairRun(t *testing.T, s *laketest.Memory, run sdk.Run, d days) error {
	t.Helper()
	run.Repair = &sdk.Repair{Partitions: len(d), Totals: true}
	_, err := export(t.Context(), newLake(s), run, d)
	return err
}

var twoRuns = []days{{"2026-06-01": 2}, {"2026-06-01": 1, "2026-06-02": 3}}

func exported(t *testing.T) *laketest.Memory {
	t.Helper()
	s := laketest.NewMemory()
	for i, d := range twoRuns {
		mustExport(t, newLake(s), events(int64(i+1), int64(i+1)), d)
	}
	return s
}

func TestTheRecordIsRestored(t *testing.T) {
	for name, c := range map[string]struct {
		harm    func(*testing.T, *laketest.Memory) error
		object  string // whose problem the inventory reports; empty: only totals are wrong
		problem string
		run     int64
	}{
		"totals edited": {func(t *testing.T, s *laketest.Memory) error {
			return laketest.EditManifest(t.Context(), s, manifest, func(m map[string]any) {
				m["days"].(map[string]any)["2026-06-01"].(map[string]any)["rows"] = 7
			})
		}, "", "", 2},
		"a day forgotten": {func(t *testing.T, s *laketest.Memory) error {
			return laketest.EditManifest(t.Context(), s, manifest, func(m map[string]any) {
				delete(m["days"].(map[string]any), "2026-06-02")
			})
		}, "", "", 2},
		"receipt in the manifest edited": {func(t *testing.T, s *laketest.Memory) error {
			return laketest.EditManifest(t.Context(), s, manifest, func(m map[string]any) {
				m["receipt"].(map[string]any)["partitions"] = []any{}
			})
		}, lastReceipt, "differs", 2},
		"first receipt deleted": {func(t *testing.T, s *laketest.Memory) error {
			return s.Delete(t.Context(), []string{firstReceipt})
		}, "", "", 1},
		"last receipt deleted": {func(t *testing.T, s *laketest.Memory) error {
			return s.Delete(t.Context(), []string{lastReceipt})
		}, lastReceipt, "does not exist", 2},
		"first receipt damaged": {func(t *testing.T, s *laketest.Memory) error {
			_, v, err := s.Read(t.Context(), firstReceipt, 1)
			if err == nil {
				_, err = s.WriteIf(t.Context(), firstReceipt, []byte("{"), v)
			}
			return err
		}, firstReceipt, "damaged", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := exported(t)
			before := s.Objects()
			wantManifest, wantReceipt := readManifest(t, s, manifest), before[firstReceipt]
			_, totals := problems(t, s, events(0, 0))
			if err := c.harm(t, s); err != nil {
				t.Fatal(err)
			}
			found, _ := problems(t, s, events(0, 0))
			if !strings.Contains(found[c.object], c.problem) {
				t.Errorf("problems are %v", found)
			}
			if err := repairRun(t, s, events(c.run, 9), twoRuns[c.run-1]); err != nil {
				t.Fatal(err)
			}
			found, after := problems(t, s, events(0, 0))
			if len(found) > 0 || !maps.Equal(totals, after) {
				t.Errorf("after the repair: %v, totals %v, want %v", found, after, totals)
			}
			got := readManifest(t, s, manifest)
			got.Fence, got.Attempt = wantManifest.Fence, wantManifest.Attempt
			if diff := cmp.Diff(wantManifest, got); diff != "" {
				t.Errorf("the manifest (-before +after):\n%s", diff)
			}
			if after := s.Objects()[firstReceipt]; len(after) != len(wantReceipt) {
				t.Errorf("the first receipt is\n%s, it was\n%s", after, wantReceipt)
			}
		})
	}
}

// A manifest that is gone is reported, and no repair takes its objects for
// unnamed ones.
func TestWithoutAManifestNothingIsRepaired(t *testing.T) {
	for name, harm := range map[string]func(*laketest.Memory) error{
		"deleted": func(s *laketest.Memory) error { return s.Delete(t.Context(), []string{manifest}) },
		"damaged": func(s *laketest.Memory) error {
			_, v, err := s.Read(t.Context(), manifest, 1)
			if err == nil {
				_, err = s.WriteIf(t.Context(), manifest, []byte(`{"format":`), v)
			}
			return err
		},
	} {
		s := exported(t)
		if err := harm(s); err != nil {
			t.Fatal(err)
		}
		before := s.Objects()
		if found, _ := problems(t, s, events(0, 0)); found[manifest] == "" {
			t.Errorf("%s: problems are %v", name, found)
		}
		if err := repairRun(t, s, events(1, 9), twoRuns[0]); err == nil {
			t.Errorf("%s: the run was repaired", name)
		}
		if diff := cmp.Diff(before, s.Objects()); diff != "" {
			t.Errorf("%s: objects have changed:\n%s", name, diff)
		}
	}
}

// Rows that are not those of the run never replace an object.
func TestOtherRowsRestoreNothing(t *testing.T) {
	s := exported(t)
	before := s.Objects()
	run := events(1, 9)
	run.Repair = &sdk.Repair{Partitions: 1}
	if _, err := export(t.Context(), newLake(s), run, days{"2026-06-01": 1}); err == nil || !strings.Contains(err.Error(), "agree on") {
		t.Errorf("the repair ended with %v", err)
	}
	after := s.Objects()
	delete(before, manifest) // it holds the fence
	delete(after, manifest)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("objects have changed:\n%s", diff)
	}
}

// A set in parts is repaired like events, and its list of files with it.
func TestASetInPartsIsRepaired(t *testing.T) {
	s := laketest.NewMemory()
	d := days{"": 12}
	if err := laketest.Retry(t.Context(), func() *lake.Lake { return newLake(s) }, people(1, 1), d); err == nil {
		t.Fatal("the set fits in one object")
	}
	mustExport(t, newLake(s), people(1, 9), d)
	want, before := readManifest(t, s, setManifest), data(s)
	if want.Layout != "parts" || len(want.Files) < 3 {
		t.Fatalf("%d files in layout %s", len(want.Files), want.Layout)
	}
	if err := s.Delete(t.Context(), []string{want.Files[1].Name}); err != nil {
		t.Fatal(err)
	}
	err := laketest.EditManifest(t.Context(), s, setManifest, func(m map[string]any) { m["files"] = []any{} })
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := problems(t, s, people(0, 0)); !strings.Contains(found[setManifest], "files are not those") {
		t.Errorf("problems are %v", found)
	}
	if err := repairRun(t, s, people(1, 10), d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, data(s)); diff != "" {
		t.Errorf("objects (-before +after):\n%s", diff)
	}
	got := readManifest(t, s, setManifest)
	got.Fence, got.Attempt = want.Fence, want.Attempt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the manifest (-before +after):\n%s", diff)
	}
}

// A receipt that names no objects lets all of the run's objects look unnamed. A
// repair that is told to remove them and restores the run keeps them.
func TestObjectsOfTheRepairedRunAreNotRemoved(t *testing.T) {
	s := exported(t)
	before := s.Objects()
	err := laketest.EditManifest(t.Context(), s, firstReceipt, func(r map[string]any) { r["partitions"] = []any{} })
	if err != nil {
		t.Fatal(err)
	}
	run := events(1, 9)
	run.Repair = &sdk.Repair{Partitions: 1, Remove: []string{dir + "2026/06/01/events_to_out-c0ffee-00000001-0001.json.gz"}}
	if before[run.Repair.Remove[0]] == "" {
		t.Fatalf("there is no object %s", run.Repair.Remove[0])
	}
	if _, err := export(t.Context(), newLake(s), run, twoRuns[0]); err != nil {
		t.Fatal(err)
	}
	after := s.Objects()
	delete(before, manifest) // it holds the fence
	delete(after, manifest)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after))); diff != "" {
		t.Errorf("objects (-before +after):\n%s", diff)
	}
	if found, _ := problems(t, s, events(0, 0)); len(found) > 0 {
		t.Errorf("problems are %v", found)
	}
}

// A damaged receipt of the last run does not hide the content that the manifest
// has: a host with another run of that number restores nothing.
func TestContentOfADamagedReceiptIsCompared(t *testing.T) {
	s := exported(t)
	err := laketest.EditManifest(t.Context(), s, lastReceipt, func(r map[string]any) { r["partitions"] = []any{} })
	if err != nil {
		t.Fatal(err)
	}
	before := data(s)
	run := events(2, 9)
	run.Content = "theirs"
	if err := repairRun(t, s, run, days{"2026-06-01": 1, "2026-06-02": 1}); err == nil || !strings.Contains(err.Error(), "content-2") {
		t.Errorf("the repair ended with %v", err)
	}
	if diff := cmp.Diff(before, data(s)); diff != "" {
		t.Errorf("objects (-before +after):\n%s", diff)
	}
}

// Without the record of a run, the numbers of a partition's objects are known only
// if all partitions before it were sent.
func TestWithoutAReceiptNoPartitionIsLeftOut(t *testing.T) {
	s, d := laketest.NewMemory(), days{"2026-06-01": 1, "2026-06-02": 1}
	mustExport(t, newLake(s), events(1, 1), d)
	mustExport(t, newLake(s), events(2, 2), twoRuns[1])
	if err := s.Delete(t.Context(), []string{firstReceipt}); err != nil {
		t.Fatal(err)
	}
	l, run := newLake(s), events(1, 9)
	run.Repair = &sdk.Repair{Partitions: 2}
	if _, err := l.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	_, err := l.Write(t.Context(), run, sdk.Partition{Index: 1, Date: "2026-06-02"}, laketest.Reader("later", 1, 100))
	if err == nil || !strings.Contains(err.Error(), "all of its partitions must be sent") {
		t.Errorf("the partition was taken: %v", err)
	}
	if err := l.Abort(t.Context(), run, false); err != nil {
		t.Fatal(err)
	}
	if err := repairRun(t, s, events(1, 10), d); err != nil {
		t.Errorf("a repair with all partitions: %v", err)
	}
}

// Totals are not computed without the receipt of the last run, which a listing of
// receipts does not show.
func TestTotalsNeedTheLastReceipt(t *testing.T) {
	s := exported(t)
	want := readManifest(t, s, manifest).Days
	if err := s.Delete(t.Context(), []string{lastReceipt}); err != nil {
		t.Fatal(err)
	}
	if err := repairRun(t, s, events(1, 9), twoRuns[0]); err == nil || !strings.Contains(err.Error(), "totals are not computed") {
		t.Errorf("the repair ended with %v", err)
	}
	if diff := cmp.Diff(want, readManifest(t, s, manifest).Days); diff != "" {
		t.Errorf("days (-before +after):\n%s", diff)
	}
}

// A repair that was killed leaves objects aside; the next one deletes them, also
// those of parts that it need not restore.
func TestTheNextRepairEmptiesAside(t *testing.T) {
	s, d := laketest.NewMemoryLike(laketest.Aside), days{"": 12}
	if err := laketest.Retry(t.Context(), func() *lake.Lake { return newLake(s) }, people(1, 1), d); err == nil {
		t.Fatal("the set fits in one object")
	}
	mustExport(t, newLake(s), people(1, 9), d)
	part := readManifest(t, s, setManifest).Files[1].Name
	whole := s.Objects()[part]
	if err := s.Delete(t.Context(), []string{part}); err != nil {
		t.Fatal(err)
	}
	killed := people(1, 10)
	killed.Repair = &sdk.Repair{Partitions: 1}
	if _, err := attempt(t.Context(), newLake(s), killed, d); err != nil {
		t.Fatal(err)
	}
	if left := aside(s); len(left) != 1 {
		t.Fatalf("aside of the killed repair: %v", left)
	}
	if _, err := s.WriteIf(t.Context(), part, []byte(whole), ""); err != nil {
		t.Fatal(err)
	}
	if err := repairRun(t, s, people(1, 11), d); err != nil {
		t.Fatal(err)
	}
	if left := aside(s); len(left) > 0 {
		t.Errorf("left aside: %v", left)
	}
}

// aside returns the names of the objects that replacements have put aside.
func aside(s *laketest.Memory) (names []string) {
	for name := range s.Objects() {
		if strings.Contains(name, "/aside/") {
			names = append(names, name)
		}
	}
	return names
}
