package lake_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// overwrite changes an object as a stranger does.
func overwrite(ctx context.Context, s *laketest.Memory, name, content string) error {
	_, v, err := s.Read(ctx, name, 1)
	if err == nil {
		_, err = s.WriteIf(ctx, name, []byte(content), v)
	}
	return err
}

// manifestHarms leave a manifest that can be restored. next is the pipeline's next
// run.
var manifestHarms = map[string]func(ctx context.Context, s *laketest.Memory, name string, next sdk.Run) error{
	"deleted": func(ctx context.Context, s *laketest.Memory, name string, _ sdk.Run) error {
		return s.Delete(ctx, []string{name})
	},
	"cut": func(ctx context.Context, s *laketest.Memory, name string, _ sdk.Run) error {
		return overwrite(ctx, s, name, `{"format":`)
	},
	"another document": func(ctx context.Context, s *laketest.Memory, name string, _ sdk.Run) error {
		return overwrite(ctx, s, name, `{}`)
	},
	"deleted, and made new by the next attempt": func(ctx context.Context, s *laketest.Memory, name string, next sdk.Run) error {
		if err := s.Delete(ctx, []string{name}); err != nil {
			return err
		}
		l := newLake(s)
		if _, err := l.Open(ctx, next); err != nil {
			return err
		}
		return l.Abort(ctx, next, false)
	},
}

// restored returns the request to restore the manifest of a pipeline whose last run
// is given, and whose run 3 is in progress.
func restored(last sdk.Run, partitions int) sdk.Run {
	last.Repair = &sdk.Repair{Partitions: partitions, Record: true, OpenRun: 3}
	return last
}

// record returns the item of the pipeline's record in an inventory.
func record(t *testing.T, s *laketest.Memory, run sdk.Run) (found sdk.InventoryItem) {
	t.Helper()
	err := newLake(s).Inventory(t.Context(), sdk.InventoryQuery{Run: run}, func(i sdk.InventoryItem) error {
		if i.Kind == sdk.InventoryRecord {
			found = i
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameManifest compares a manifest with the one before it was lost.
func sameManifest(t *testing.T, want, got lake.Manifest) {
	t.Helper()
	if got.Fence < want.Fence || got.Attempt == want.Attempt {
		t.Errorf("the restored manifest has fence %d and attempt %s", got.Fence, got.Attempt)
	}
	got.Fence, got.Attempt, got.Unfinished = want.Fence, want.Attempt, want.Unfinished
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the manifest (-before +after):\n%s", diff)
	}
}

func TestTheManifestOfEventsIsRestored(t *testing.T) {
	for name, harm := range manifestHarms {
		t.Run(name, func(t *testing.T) {
			s := exported(t)
			want, objects := readManifest(t, s, manifest), data(s)
			if err := harm(t.Context(), s, manifest, events(3, 8)); err != nil {
				t.Fatal(err)
			}
			if i := record(t, s, events(0, 0)); !i.Restorable || i.Run != 0 {
				t.Errorf("the inventory has the record %+v", i)
			}
			if _, err := export(t.Context(), newLake(s), restored(events(2, 9), 2), nil); err != nil {
				t.Fatal(err)
			}
			got := readManifest(t, s, manifest)
			if !slices.Equal(got.Unfinished, []int64{3}) {
				t.Errorf("unfinished runs are %v", got.Unfinished)
			}
			sameManifest(t, want, got)
			if diff := cmp.Diff(objects, data(s)); diff != "" {
				t.Errorf("objects have changed:\n%s", diff)
			}
			if found, _ := problems(t, s, events(0, 0)); len(found) > 0 || record(t, s, events(0, 0)).Restorable {
				t.Errorf("problems are %v", found)
			}
			mustExport(t, newLake(s), events(3, 10), days{"2026-06-02": 1})
			if m := readManifest(t, s, manifest); m.Run != 3 || len(m.Unfinished) > 0 {
				t.Errorf("the next run leaves last run %d, unfinished %v", m.Run, m.Unfinished)
			}
		})
	}
}

// A receipt that is gone with the manifest is restored after it.
func TestTheManifestIsRestoredWithoutTheLastReceipt(t *testing.T) {
	s := exported(t)
	want := readManifest(t, s, manifest)
	if err := s.Delete(t.Context(), []string{manifest, lastReceipt}); err != nil {
		t.Fatal(err)
	}
	if _, err := export(t.Context(), newLake(s), restored(events(2, 9), 2), nil); err != nil {
		t.Fatal(err)
	}
	if found, _ := problems(t, s, events(0, 0)); len(found) != 1 || found[lastReceipt] == "" {
		t.Errorf("problems are %v", found)
	}
	if err := repairRun(t, s, events(2, 10), twoRuns[1]); err != nil {
		t.Fatal(err)
	}
	got := readManifest(t, s, manifest)
	got.Receipt.Fence = want.Receipt.Fence // that of the attempt went with the receipt
	sameManifest(t, want, got)
}

func TestTheManifestOfASetIsRestored(t *testing.T) {
	for name, harm := range manifestHarms {
		for layout, d := range map[string]days{"object": {"": 2}, "parts": {"": 12}} {
			t.Run(layout+" "+name, func(t *testing.T) {
				s := laketest.NewMemory()
				if layout == "parts" { // the first attempt finds that the set is too large
					_, _ = export(t.Context(), newLake(s), people(1, 1), d)
				}
				mustExport(t, newLake(s), people(1, 2), d)
				want, objects := readManifest(t, s, setManifest), data(s)
				if want.Layout != layout {
					t.Fatalf("the set is in layout %s", want.Layout)
				}
				if err := harm(t.Context(), s, setManifest, people(2, 8)); err != nil {
					t.Fatal(err)
				}
				if i := record(t, s, people(0, 0)); !i.Restorable || i.Run != 0 {
					t.Errorf("the inventory has the record %+v", i)
				}
				if _, err := export(t.Context(), newLake(s), restored(people(1, 9), 1), d); err != nil {
					t.Fatal(err)
				}
				got := readManifest(t, s, setManifest)
				if layout == "parts" {
					got.Receipt.Fence = want.Receipt.Fence // names and bytes of parts have none
				}
				sameManifest(t, want, got)
				if diff := cmp.Diff(objects, data(s)); diff != "" {
					t.Errorf("objects have changed:\n%s", diff)
				}
				if found, _ := problems(t, s, people(0, 0)); len(found) > 0 {
					t.Errorf("problems are %v", found)
				}
				mustExport(t, newLake(s), people(2, 10), d)
			})
		}
	}
}

// A repair of the manifest that is cut at any call is repeated, and then has done the
// same. Readers see the set in between.
func TestAnyFaultWhileTheManifestIsRestored(t *testing.T) {
	d := days{"": 2}
	undisturbed := exported(t)
	mustExport(t, newLake(undisturbed), people(1, 2), d)
	want := map[string]lake.Manifest{manifest: readManifest(t, undisturbed, manifest), setManifest: readManifest(t, undisturbed, setManifest)}
	objects := data(undisturbed)
	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		for i, d := range twoRuns {
			mustExport(t, newLake(s), events(int64(i+1), int64(i+1)), d)
		}
		mustExport(t, newLake(s), people(1, 2), d)
		if err := s.Delete(t.Context(), []string{manifest, setManifest}); err != nil {
			t.Fatal(err)
		}
		for _, repair := range []struct {
			run  sdk.Run
			days days
		}{{restored(events(2, 9), 2), nil}, {restored(people(1, 9), 1), d}} {
			if _, err := export(t.Context(), newLake(faulty), repair.run, repair.days); err != nil && !errors.Is(err, laketest.ErrInjected) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(objects, data(s)); diff != "" {
				t.Errorf("objects have changed:\n%s", diff)
			}
			repair.run.Fence++
			if _, err := export(t.Context(), newLake(s), repair.run, repair.days); err != nil {
				t.Fatal(err)
			}
		}
		for name, m := range want {
			sameManifest(t, m, readManifest(t, s, name))
		}
		if diff := cmp.Diff(objects, data(s)); diff != "" {
			t.Errorf("objects have changed:\n%s", diff)
		}
	})
}

// A manifest is not restored over the traces of another host, nor by an older fence.
func TestManifestsThatAreNotRestored(t *testing.T) {
	remove := func(t *testing.T, s *laketest.Memory) error { return s.Delete(t.Context(), []string{manifest}) }
	for name, c := range map[string]struct {
		harm  func(*testing.T, *laketest.Memory) error
		run   sdk.Run
		class protocol.Class
		text  string
	}{
		"a later run": {func(t *testing.T, s *laketest.Memory) error {
			mustExport(t, newLake(s), events(4, 4), days{"2026-06-02": 1})
			return remove(t, s)
		}, events(2, 9), protocol.Permanent, "another host"},
		"another content": {remove, func() sdk.Run {
			r := events(2, 9)
			r.Content = "content of another catalog"
			return r
		}(), protocol.Permanent, "was committed with content content-2"},
		"a newer version": {func(t *testing.T, s *laketest.Memory) error {
			return overwrite(t.Context(), s, manifest, `{"format":"penstock-manifest","version":99}`)
		}, events(2, 9), protocol.Permanent, "upgrade the plugin"},
		"a newer fence": {func(t *testing.T, s *laketest.Memory) error {
			if err := remove(t, s); err != nil {
				return err
			}
			_, err := newLake(s).Open(t.Context(), events(3, 20))
			return err
		}, events(2, 9), protocol.Fenced, "newer fence"},
	} {
		t.Run(name, func(t *testing.T) {
			s := exported(t)
			if err := c.harm(t, s); err != nil {
				t.Fatal(err)
			}
			before := s.Objects()
			_, err := export(t.Context(), newLake(s), restored(c.run, 2), nil)
			if protocol.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.text) {
				t.Errorf("class %v of %v", protocol.ClassOf(err), err)
			}
			if diff := cmp.Diff(before, s.Objects()); diff != "" {
				t.Errorf("objects have changed:\n%s", diff)
			}
		})
	}
}
