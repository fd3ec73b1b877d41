package lake_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
)

var someDays = days{"2026-06-01": 12, "2026-05-31": 1}

// everyFault calls f with a store whose n-th call fails, for each n until
// nothing fails any more, before and after the call has done its work, over
// each kind of service. s is the store itself.
func everyFault(t *testing.T, f func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults)) {
	for service, kind := range laketest.Services() {
		for _, fault := range []laketest.Fault{laketest.Refused, laketest.LostAnswer} {
			for n := 1; ; n++ {
				s := laketest.NewMemoryLike(kind)
				faulty := laketest.NewFaults(s, n, fault)
				ok := t.Run(fmt.Sprintf("%s, call %d, fault %d", service, n, fault), func(t *testing.T) { f(t, s, faulty) })
				if !faulty.Failed() || !ok {
					break
				}
				if n > 1000 {
					t.Fatal("the calls do not end")
				}
			}
		}
	}
}

func retry(t *testing.T, s lake.Store, run sdk.Run, d days) {
	t.Helper()
	if err := laketest.Retry(t.Context(), func() *lake.Lake { return newLake(s) }, run, d); err != nil {
		t.Fatal(err)
	}
}

func TestAnyFaultThenRetryIsByteIdentical(t *testing.T) {
	undisturbed := laketest.NewMemory()
	l := newLake(undisturbed)
	mustExport(t, l, events(1, 1), someDays)
	mustExport(t, l, events(2, 10), days{"2026-06-01": 3})
	want, wantDays := data(undisturbed), readManifest(t, undisturbed, manifest).Days

	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		retry(t, faulty, events(1, 1), someDays)
		retry(t, faulty, events(2, 10), days{"2026-06-01": 3})
		if diff := cmp.Diff(want, data(s)); diff != "" {
			t.Errorf("objects differ:\n%s", diff)
		}
		m := readManifest(t, s, manifest)
		if diff := cmp.Diff(wantDays, m.Days); diff != "" {
			t.Errorf("days differ:\n%s", diff)
		}
		if m.Run != 2 || len(m.Unfinished) != 0 {
			t.Errorf("run %d, unfinished %v", m.Run, m.Unfinished)
		}
	})
}

func TestAnyFaultThenAnotherPlanLeavesNothing(t *testing.T) {
	plan := days{"2026-06-01": 5, "2026-05-30": 1}
	undisturbed := laketest.NewMemory()
	mustExport(t, newLake(undisturbed), events(2, 2), plan)
	want := data(undisturbed)

	everyFault(t, func(t *testing.T, s *laketest.Memory, faulty *laketest.Faults) {
		if _, err := export(t.Context(), newLake(faulty), events(1, 1), someDays); err == nil {
			return // run 1 is committed
		}
		if status, err := newLake(faulty).Status(t.Context(), events(1, 1)); err != nil || status.State == sdk.Committed {
			return
		}
		retry(t, faulty, events(2, 2), plan)
		if diff := cmp.Diff(want, data(s)); diff != "" {
			t.Errorf("objects differ:\n%s", diff)
		}
	})
}

func TestRetryWithFewerParts(t *testing.T) {
	s := laketest.NewMemory()
	if _, err := attempt(t.Context(), newLake(s), events(1, 1), days{"2026-06-01": 20, "2026-05-31": 1}); err != nil {
		t.Fatal(err)
	}
	r := mustExport(t, newLake(s), events(1, 2), days{"2026-06-01": 2})
	if diff := cmp.Diff(r.Partitions[0].Objects, slices.Sorted(maps.Keys(data(s)))); diff != "" {
		t.Errorf("objects differ from the receipt:\n%s", diff)
	}
}

func TestAbort(t *testing.T) {
	for _, discard := range []bool{false, true} {
		s := laketest.NewMemory()
		l := newLake(s)
		mustExport(t, l, events(1, 1), days{"2026-05-01": 1})
		before := data(s)
		r, err := attempt(t.Context(), l, events(2, 2), someDays)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Abort(t.Context(), events(2, 2), discard); err != nil {
			t.Fatal(err)
		}
		if left := len(data(s)) > len(before); left == discard {
			t.Errorf("discard %v: objects of the run are there: %v", discard, left)
		}
		if n := s.Uploads(); n != 0 {
			t.Errorf("%d uploads are left", n)
		}
		if unfinished := readManifest(t, s, manifest).Unfinished; (len(unfinished) == 0) != discard {
			t.Errorf("discard %v: unfinished runs are %v", discard, unfinished)
		}
		if err := l.Commit(t.Context(), events(2, 2), r); err == nil {
			t.Error("an aborted run was committed")
		}
	}
}

func TestDiscardKeepsWhatIsCommittedOrAnothers(t *testing.T) {
	s := laketest.NewMemory()
	mustExport(t, newLake(s), events(1, 1), someDays)
	if _, err := attempt(t.Context(), newLake(s), events(2, 5), someDays); err != nil {
		t.Fatal(err)
	}
	before := data(s)
	for _, run := range []sdk.Run{events(1, 9), events(2, 4)} {
		if err := newLake(s).Abort(t.Context(), run, true); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, data(s)); diff != "" {
		t.Errorf("objects were removed:\n%s", diff)
	}
}
