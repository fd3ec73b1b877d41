package catalog

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// A lease for a repair and one on a run exclude each other between owners, and
// each takes a fence of its own.
func TestRepairsAndRunsExcludeEachOther(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	repair := func(owner string) (pipeline.Lease, error) {
		return c.AcquireRepair(t.Context(), p.ID, owner, time.Minute)
	}
	attempt := func(owner string) (pipeline.Lease, error) {
		return c.AcquireRun(t.Context(), p.ID, run.Number, owner, time.Minute)
	}
	first, err := repair("a")
	if err != nil {
		t.Fatal(err)
	}
	for name, acquire := range map[string]func(string) (pipeline.Lease, error){"a repair": repair, "a run": attempt} {
		if _, err := acquire("b"); !errors.Is(err, pipeline.ErrLeased) {
			t.Errorf("%s of another owner: %v", name, err)
		}
	}
	second, err := repair("a")
	if err != nil || second.Fence <= first.Fence {
		t.Fatalf("the fence went from %d to %d, %v", first.Fence, second.Fence, err)
	}
	if err := c.RenewRepair(t.Context(), first, time.Minute); !errors.Is(err, pipeline.ErrLeaseLost) {
		t.Errorf("an older repair was renewed: %v", err)
	}
	if err := c.ReleaseRepair(t.Context(), first); !errors.Is(err, pipeline.ErrLeaseLost) {
		t.Errorf("an older repair has released the lease of a newer one: %v", err)
	}
	if err := errors.Join(c.RenewRepair(t.Context(), second, time.Minute), c.ReleaseRepair(t.Context(), second)); err != nil {
		t.Fatal(err)
	}
	running, err := attempt("b")
	if err != nil || running.Fence <= second.Fence {
		t.Fatalf("after the repair: fence %d, %v", running.Fence, err)
	}
	if _, err := repair("a"); !errors.Is(err, pipeline.ErrLeased) {
		t.Errorf("a repair during another owner's run: %v", err)
	}
	if err := c.RecordReceipt(t.Context(), running, pipeline.Receipt{}); err != nil {
		t.Errorf("a repair that was refused has ended the run's lease: %v", err)
	}
	if _, err := repair("a"); err != nil {
		t.Errorf("a repair after the run: %v", err)
	}
}

func TestALeaseForARepairExpires(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	if _, err := c.AcquireRepair(t.Context(), p.ID, "dead", -time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AcquireRun(t.Context(), p.ID, run.Number, "b", -time.Second); err != nil {
		t.Errorf("a run after a repair whose lease has expired: %v", err)
	}
	if _, err := c.AcquireRepair(t.Context(), p.ID, "a", time.Minute); err != nil {
		t.Errorf("a repair after leases that have expired: %v", err)
	}
	// The owner of the data directory's lock ends all leases of others.
	if err := c.ExpireLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AcquireRepair(t.Context(), p.ID, "b", time.Minute); err != nil {
		t.Errorf("a repair after leases were ended: %v", err)
	}
}

func TestACommittedRunIsFoundByItsNumber(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	if found, err := c.CommittedRun(t.Context(), p.ID, run.Number); err != nil || found != nil {
		t.Errorf("a planned run was found: %+v, %v", found, err)
	}
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Minute)
	if err == nil {
		err = c.RecordReceipt(t.Context(), lease, pipeline.Receipt{Rows: 7})
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.CommittedRun(t.Context(), p.ID, run.Number)
	if err != nil || found == nil || len(found.Extents) != len(run.Extents) || found.Receipt.Rows != 7 {
		t.Errorf("found %+v, %v", found, err)
	}
}
