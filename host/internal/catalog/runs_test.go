package catalog

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

var (
	plannedAt = time.Date(2026, 7, 2, 3, 4, 5, 6e6, time.UTC)
	asOf      = time.Date(2026, 7, 2, 3, 0, 0, 0, time.UTC)
)

func extents(r *rand.Rand, n int) []pipeline.Extent {
	list := make([]pipeline.Extent, n)
	for i := range list {
		day := journal.Day(r.IntN(60000) - 20000)
		list[i] = pipeline.Extent{
			Ref: journal.ExtentRef{Seq: r.Int64N(1 << 40), Index: r.IntN(1 << 20)}, UTCDate: day, ZoneDate: day + journal.Day(r.IntN(3)-1),
			Rows: r.Int64N(1e6), RowsBytes: r.Int64N(1e12), Bytes: r.Int64N(1e12),
		}
	}
	return list
}

// unplanned is a run that is not in the catalog yet.
func unplanned(extents []pipeline.Extent, next pipeline.Cursor) *pipeline.Run {
	return &pipeline.Run{Extents: extents, Next: next, Content: "c1", PlannedAt: plannedAt, AsOf: asOf}
}

// planned is a pipeline with a planned run.
func planned(t *testing.T, c *Catalog) (*pipeline.Pipeline, *pipeline.Run) {
	t.Helper()
	p := register(t, c, definition(t, "events", "2026-01-01", ""), nil)
	next := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 9, Index: 3}}
	run := unplanned(extents(rand.New(rand.NewPCG(1, 12)), 5), next)
	if err := c.InsertRun(t.Context(), p, run); err != nil {
		t.Fatal(err)
	}
	return p, run
}

func reload(t *testing.T, c *Catalog) *pipeline.Pipeline {
	t.Helper()
	p, err := c.Pipeline(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func latest(t *testing.T, c *Catalog, p *pipeline.Pipeline) RunRecord {
	t.Helper()
	runs, err := c.Runs(t.Context(), p.ID, 1)
	if err != nil || len(runs) != 1 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	return runs[0]
}

// The extents of a run are fixed when it is planned: retries, failures and other
// leases find the same list.
func TestAPlanIsFixed(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	check := func(state pipeline.RunState) {
		t.Helper()
		open, err := c.OpenRun(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := *run
		want.State, want.Error, want.ErrorClass = state, open.Error, open.ErrorClass
		if !reflect.DeepEqual(open, &want) {
			t.Errorf("the run is %+v, want %+v", open, want)
		}
	}
	check(pipeline.RunPlanned)
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	check(pipeline.RunRunning)
	if err := c.RecordFailure(t.Context(), lease, "a reason", "retryable", false); err != nil {
		t.Fatal(err)
	}
	check(pipeline.RunRunning)
	if lease, err = c.AcquireRun(t.Context(), p.ID, run.Number, "b", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := c.RecordFailure(t.Context(), lease, "a last reason", "retryable", true); err != nil {
		t.Fatal(err)
	}
	check(pipeline.RunFailed)
	if got := latest(t, c, p); got.Error != "a last reason" || got.Owner != "" || got.Fence != 2 {
		t.Errorf("got %+v", got)
	}
	if err := c.RetryRun(t.Context(), p.ID, run.Number); err != nil {
		t.Fatal(err)
	}
	check(pipeline.RunPlanned)
}

func TestExtentsOfARunAreKeptAsTheyAre(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 12))
	for n := range 60 {
		list := extents(r, n)
		got, err := unpackExtents(packExtents(list))
		if err != nil || len(got) != n || n > 0 && !reflect.DeepEqual(got, list) {
			t.Errorf("got %+v, %v, want %+v", got, err, list)
		}
	}
}

// A pipeline has at most one run that is not done, in any state. The pipeline's
// cursor does not move until the run is done.
func TestOneRunAtATime(t *testing.T) {
	c := newCatalog(t)
	stale, run := planned(t, c)
	moved := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 99}}
	blocked := func(state string) {
		t.Helper()
		for what, p := range map[string]*pipeline.Pipeline{"as it is": reload(t, c), "as it was": stale} {
			if err := c.InsertRun(t.Context(), p, unplanned(nil, moved)); !errors.Is(err, ErrRunPlanned) {
				t.Errorf("%s, pipeline %s: got %v", state, what, err)
			}
			if err := c.MoveCursor(t.Context(), p, moved); err != nil {
				t.Errorf("%s, pipeline %s: %v", state, what, err)
			}
		}
		if p := reload(t, c); !reflect.DeepEqual(p.Cursor, stale.Cursor) || p.LastRun != 1 {
			t.Errorf("%s: the pipeline is %+v", state, p)
		}
	}
	blocked("planned")
	lease, err := c.AcquireRun(t.Context(), stale.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	blocked("running")
	if err := c.RecordFailure(t.Context(), lease, "reason", "retryable", true); err != nil {
		t.Fatal(err)
	}
	blocked("failed")
	if err := c.RetryRun(t.Context(), stale.ID, run.Number); err != nil {
		t.Fatal(err)
	}
	if lease, err = c.AcquireRun(t.Context(), stale.ID, run.Number, "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{Rows: 3, Rejected: 1, StoredBytes: 100, Changed: map[string]int64{"equal keys": 2}}); err != nil {
		t.Fatal(err)
	}
	p := reload(t, c)
	if !reflect.DeepEqual(p.Cursor, run.Next) || p.LastRun != 1 || p.Fence != 2 || !p.PlannedAt.Equal(plannedAt) {
		t.Errorf("the pipeline is %+v", p)
	}
	if open, err := c.OpenRun(t.Context(), p.ID); err != nil || open != nil {
		t.Errorf("still open: %+v, %v", open, err)
	}
	// One who saw the pipeline before that run plans nothing.
	if err := c.InsertRun(t.Context(), stale, unplanned(nil, moved)); !errors.Is(err, ErrRunPlanned) {
		t.Errorf("got %v", err)
	}
	if err := c.MoveCursor(t.Context(), stale, moved); err != nil || !reflect.DeepEqual(reload(t, c).Cursor, run.Next) {
		t.Errorf("the cursor was moved: %v", err)
	}
	if err := c.MoveCursor(t.Context(), p, moved); err != nil || !reflect.DeepEqual(reload(t, c).Cursor, moved) {
		t.Errorf("the cursor was not moved: %v", err)
	}
	second := unplanned(nil, moved)
	if err := c.InsertRun(t.Context(), p, second); err != nil || second.Number != 2 {
		t.Errorf("got %+v, %v", second, err)
	}
	rows, rejected, bytes, err := c.ExportedTotals(t.Context(), p.ID)
	if err != nil || rows != 3 || rejected != 1 || bytes != 100 {
		t.Errorf("exported %d, %d, %d, %v", rows, rejected, bytes, err)
	}
	if changed, err := c.ExportedChanges(t.Context(), p.ID); err != nil || !maps.Equal(changed, map[string]int64{"equal keys": 2}) {
		t.Errorf("changed %v, %v", changed, err)
	}
}

func TestOneOfManyPlansIsFixed(t *testing.T) {
	c := pair(t)
	p := register(t, c[0], definition(t, "events", "2026-01-01", ""), nil)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = c[i%2].InsertRun(t.Context(), p, unplanned(extents(rand.New(rand.NewPCG(uint64(i), 13)), i+1), pipeline.Cursor{}))
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case !errors.Is(err, ErrRunPlanned):
			t.Errorf("plan %d next to %d: %v", i, winner, err)
		}
	}
	if got := latest(t, c[0], p); len(got.Extents) != winner+1 || got.Number != 1 {
		t.Errorf("run %d has %d extents, plan %d was taken", got.Number, len(got.Extents), winner)
	}
}

// Leases, told as stories: each step is by an owner, and has an outcome.
func TestLeases(t *testing.T) {
	lost, leased := pipeline.ErrLeaseLost, pipeline.ErrLeased
	const live, over = time.Hour, -time.Second
	type step struct {
		owner, does string
		ttl         time.Duration
		want        error
	}
	tests := map[string][]step{
		"the owner records":        {{"a", "acquires", live, nil}, {"a", "renews", live, nil}, {"a", "records", 0, nil}},
		"another has to wait":      {{"a", "acquires", live, nil}, {"b", "acquires", live, leased}, {"a", "records", 0, nil}},
		"an expired one is taken":  {{"a", "acquires", over, nil}, {"b", "acquires", live, nil}, {"b", "records", 0, nil}},
		"who was taken over stops": {{"a", "acquires", over, nil}, {"b", "acquires", live, nil}, {"a", "renews", live, lost}, {"a", "records", 0, lost}, {"a", "fails", 0, lost}, {"a", "gives up", 0, lost}, {"b", "records", 0, nil}},
		"renewed too late":         {{"a", "acquires", over, nil}, {"a", "renews", live, nil}, {"b", "acquires", live, leased}, {"a", "records", 0, nil}},
		"renewed for too little":   {{"a", "acquires", live, nil}, {"a", "renews", over, nil}, {"b", "acquires", live, nil}, {"a", "records", 0, lost}},
		"late and not taken over":  {{"a", "acquires", over, nil}, {"a", "records", 0, nil}},
		"its own lease again":      {{"a", "acquires", live, nil}, {"a", "acquires", live, nil}, {"b", "acquires", live, leased}, {"a", "records", 0, nil}},
		"a failure releases":       {{"a", "acquires", live, nil}, {"a", "fails", 0, nil}, {"b", "acquires", live, nil}, {"a", "records", 0, lost}, {"b", "records", 0, nil}},
		"a failed lease is over":   {{"a", "acquires", live, nil}, {"a", "fails", 0, nil}, {"a", "renews", live, lost}},
		"a last failure stays":     {{"a", "acquires", live, nil}, {"a", "gives up", 0, nil}, {"a", "acquires", live, leased}, {"b", "acquires", live, leased}, {"a", "records", 0, lost}},
		"recorded once":            {{"a", "acquires", live, nil}, {"a", "records", 0, nil}, {"a", "records", 0, lost}, {"a", "fails", 0, lost}, {"a", "renews", live, lost}, {"b", "acquires", live, leased}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCatalog(t)
			p, run := planned(t, c)
			leases := map[string]pipeline.Lease{}
			fence := int64(0)
			for i, s := range steps {
				before := reload(t, c)
				var err error
				switch s.does {
				case "acquires":
					var lease pipeline.Lease
					if lease, err = c.AcquireRun(t.Context(), p.ID, run.Number, s.owner, s.ttl); err == nil {
						if fence++; lease != (pipeline.Lease{PipelineID: p.ID, Number: run.Number, Owner: s.owner, Fence: fence}) {
							t.Errorf("step %d: lease %+v, want fence %d", i, lease, fence)
						}
						leases[s.owner] = lease
					}
				case "renews":
					err = c.RenewRun(t.Context(), leases[s.owner], s.ttl)
				case "records":
					err = c.RecordReceipt(t.Context(), leases[s.owner], pipeline.Receipt{Rows: int64(i)})
				case "fails":
					err = c.RecordFailure(t.Context(), leases[s.owner], "reason", "retryable", false)
				case "gives up":
					err = c.RecordFailure(t.Context(), leases[s.owner], "reason", "retryable", true)
				}
				if !errors.Is(err, s.want) {
					t.Fatalf("step %d: %s %s: got %v, want %v", i, s.owner, s.does, err, s.want)
				}
				after := reload(t, c)
				if after.Fence != fence {
					t.Errorf("step %d: %s %s: fence %d, want %d", i, s.owner, s.does, after.Fence, fence)
				}
				recorded := s.does == "records" && err == nil
				if want := before.Cursor; recorded {
					if !reflect.DeepEqual(after.Cursor, run.Next) {
						t.Errorf("step %d: the cursor is %+v, want %+v", i, after.Cursor, run.Next)
					}
				} else if !reflect.DeepEqual(after.Cursor, want) {
					t.Errorf("step %d: %s %s: the cursor moved to %+v", i, s.owner, s.does, after.Cursor)
				}
			}
		})
	}
}

// The lease that a process has from before it took another one is worth
// nothing.
func TestAnOlderFenceOfOneOwnerIsRefused(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	var leases []pipeline.Lease
	for range 3 {
		lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, lease)
	}
	for _, old := range leases[:2] {
		if err := c.RenewRun(t.Context(), old, time.Hour); !errors.Is(err, pipeline.ErrLeaseLost) {
			t.Errorf("fence %d renewed: %v", old.Fence, err)
		}
		if err := c.RecordReceipt(t.Context(), old, pipeline.Receipt{}); !errors.Is(err, pipeline.ErrLeaseLost) {
			t.Errorf("fence %d recorded: %v", old.Fence, err)
		}
	}
	if err := c.RecordReceipt(t.Context(), leases[2], pipeline.Receipt{}); err != nil {
		t.Error(err)
	}
}

// Leases end by the clock of the database: the stored time is that of the database
// plus the length of the lease.
func TestALeaseEndsByTheDatabasesClock(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	clock := func() int64 { return count(t, c, `SELECT CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)`) }
	const ttl = 90 * time.Second
	check := func(take func() error) {
		t.Helper()
		before := clock()
		if err := take(); err != nil {
			t.Fatal(err)
		}
		after, ends := clock(), count(t, c, `SELECT lease_expires_at FROM runs`)
		if ends < before+ttl.Milliseconds() || ends > after+ttl.Milliseconds() {
			t.Errorf("the lease ends at %d, it was taken between %d and %d", ends, before, after)
		}
	}
	var lease pipeline.Lease
	check(func() (err error) {
		lease, err = c.AcquireRun(t.Context(), p.ID, run.Number, "a", ttl)
		return err
	})
	check(func() error { return c.RenewRun(t.Context(), lease, ttl) })
}

func TestLeasesOfOthersEndWithTheLock(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	dead, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-0", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ExpireLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	mine, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ExpireLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-2", time.Hour); !errors.Is(err, pipeline.ErrLeased) {
		t.Errorf("this process's own lease ended: %v", err)
	}
	if err := c.RecordReceipt(t.Context(), dead, pipeline.Receipt{}); !errors.Is(err, pipeline.ErrLeaseLost) {
		t.Errorf("the dead one records: %v", err)
	}
	if err := c.RecordReceipt(t.Context(), mine, pipeline.Receipt{}); err != nil {
		t.Error(err)
	}
}

func TestOneOfManyOwnersGetsTheLease(t *testing.T) {
	c := pair(t)
	p, run := planned(t, c[0])
	for round := range 10 {
		leases, errs := make([]pipeline.Lease, 8), make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				leases[i], errs[i] = c[i%2].AcquireRun(t.Context(), p.ID, run.Number, fmt.Sprint("owner-", i), time.Hour)
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case !errors.Is(err, pipeline.ErrLeased):
				t.Fatalf("owner %d next to %d: %v", i, winner, err)
			}
		}
		if winner < 0 || leases[winner].Fence != int64(round+1) {
			t.Fatalf("round %d: winner %d, leases %+v", round, winner, leases)
		}
		if err := c[0].RecordFailure(t.Context(), leases[winner], "next round", "retryable", false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyAFailedRunIsRetried(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	refused := func(state string) {
		t.Helper()
		if err := c.RetryRun(t.Context(), p.ID, run.Number); err == nil {
			t.Errorf("a run that is %s is retried", state)
		}
	}
	refused("planned")
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	refused("running")
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	refused("succeeded")
	if err := c.RetryRun(t.Context(), p.ID, 99); err == nil {
		t.Error("a run that is not there is retried")
	}
}

func TestAReceiptIsKept(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	receipt := pipeline.Receipt{
		Rows: 10, Rejected: 2, RowsBytes: 1000, StoredBytes: 100,
		Partitions: []pipeline.PartitionReceipt{{Date: "2026-01-01", Rows: 10, Rejected: 2, StoredBytes: 100, Objects: []string{"a/b \"c\".json.gz"}}},
	}
	if err := c.RecordReceipt(t.Context(), lease, receipt); err != nil {
		t.Fatal(err)
	}
	got := latest(t, c, p)
	if got.Receipt == nil || !reflect.DeepEqual(*got.Receipt, receipt) || got.State != pipeline.RunSucceeded || got.FinishedAt.IsZero() {
		t.Errorf("got %+v, want %+v", got, receipt)
	}
}

// A prepared receipt is kept until the run is recorded; then the pipeline knows
// the content of the committed run.
func TestContentAndPreparedReceipt(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	prepared := pipeline.Receipt{Rows: 3, Rejected: 1, Partitions: []pipeline.PartitionReceipt{{Date: "2026-01-01", Rows: 3, Rejected: 1}}}
	if err := c.RecordPrepared(t.Context(), lease, prepared); err != nil {
		t.Fatal(err)
	}
	if got := latest(t, c, p); got.Content != "c1" || got.Prepared == nil || !reflect.DeepEqual(*got.Prepared, prepared) || got.Receipt != nil {
		t.Errorf("the run is %+v", got.Run)
	}
	stale := lease
	stale.Fence--
	if err := c.RecordPrepared(t.Context(), stale, prepared); !errors.Is(err, pipeline.ErrLeaseLost) {
		t.Errorf("an older fence: %v", err)
	}
	if got := reload(t, c).Committed; got != (pipeline.Committed{}) {
		t.Errorf("%+v is committed before the receipt", got)
	}
	if err := c.RecordReceipt(t.Context(), lease, prepared); err != nil {
		t.Fatal(err)
	}
	if got := latest(t, c, p); got.Prepared != nil || got.Receipt == nil {
		t.Errorf("the run is %+v", got.Run)
	}
	if got := reload(t, c).Committed; got != (pipeline.Committed{Number: 1, Content: "c1"}) {
		t.Errorf("%+v is committed, want run 1 with content c1", got)
	}
}

// A run from before contents were kept is given one, once.
func TestContentOfAnOlderRun(t *testing.T) {
	c := newCatalog(t)
	p := register(t, c, definition(t, "events", "2026-01-01", ""), nil)
	run := unplanned(nil, pipeline.Cursor{})
	run.Content = ""
	if err := c.InsertRun(t.Context(), p, run); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "second"} {
		if err := c.SetContent(t.Context(), run, content); err != nil {
			t.Fatal(err)
		}
	}
	if got := latest(t, c, p).Content; got != "first" {
		t.Errorf("content %q, want that which was set first", got)
	}
}

// A leased run that was never prepared gets another plan, by the latest attempt alone.
func TestReplaceRun(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	plan := unplanned(extents(rand.New(rand.NewPCG(4, 12)), 3), pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 4, Index: pipeline.EndOfSegment}})
	plan.Content, plan.AsOf = "c2", time.Time{}
	refused := func(what string, lease pipeline.Lease) {
		t.Helper()
		before := latest(t, c, p)
		if err := c.ReplaceRun(t.Context(), lease, plan); !errors.Is(err, pipeline.ErrLeaseLost) {
			t.Errorf("%s: %v", what, err)
		}
		if after := latest(t, c, p); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the run went from %+v to %+v", what, before, after)
		}
	}
	acquire := func(owner string, ttl time.Duration) pipeline.Lease {
		t.Helper()
		lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, owner, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	refused("a run without a lease", pipeline.Lease{PipelineID: p.ID, Number: run.Number, Owner: "a"})
	zombie := acquire("a", -time.Second)
	lease := acquire("b", -time.Second)
	refused("an older attempt", zombie)
	if err := c.RecordPrepared(t.Context(), lease, pipeline.Receipt{Rows: 1}); err != nil {
		t.Fatal(err)
	}
	refused("a run that was prepared", lease)

	other := register(t, c, definition(t, "other", "2026-01-01", ""), nil)
	set := &pipeline.Run{Generation: &pipeline.Generation{Blob: "people/1/a"}, Content: "c1", PlannedAt: plannedAt}
	if err := c.InsertRun(t.Context(), other, set); err != nil {
		t.Fatal(err)
	}
	p, run = other, set
	refused("a set", acquire("b", -time.Second))

	p = register(t, c, definition(t, "third", "2026-01-01", ""), nil)
	run = unplanned(extents(rand.New(rand.NewPCG(5, 12)), 9), pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 9}})
	if err := c.InsertRun(t.Context(), p, run); err != nil {
		t.Fatal(err)
	}
	lease = acquire("b", time.Hour)
	if err := c.ReplaceRun(t.Context(), lease, plan); err != nil {
		t.Fatal(err)
	}
	want := *run
	want.State, want.Content, want.Extents, want.Next, want.AsOf = pipeline.RunRunning, plan.Content, plan.Extents, plan.Next, fromMillis(plan.AsOf.UnixMilli())
	if got := latest(t, c, p); !reflect.DeepEqual(*got.Run, want) || got.Owner != "b" || got.Fence != lease.Fence {
		t.Errorf("the run is %+v of %s, want %+v", *got.Run, got.Owner, want)
	}
	totals := plan.Totals()
	if n := count(t, c, fmt.Sprintf(`SELECT COUNT(*) FROM runs WHERE content = 'c2' AND row_count = %d AND bytes = %d AND from_day = %d AND to_day = %d`,
		totals.Rows, totals.Bytes, totals.From, totals.To)); n != 1 {
		t.Error("the totals are not those of the plan")
	}
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	stored, err := c.Pipeline(t.Context(), "third")
	if err != nil || !reflect.DeepEqual(stored.Cursor, plan.Next) || stored.Committed != (pipeline.Committed{Number: 1, Content: "c2"}) {
		t.Errorf("the pipeline is %+v, %v", stored, err)
	}
	refused("a run that is done", lease)
}

// The next lease takes a fence above the one that a destination has recorded,
// unless another attempt has taken over.
func TestRaiseFence(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, recorded := range []int64{40, 7} { // never lowered
		if err := c.RaiseFence(t.Context(), lease, recorded); (err != nil) != (recorded == 7) {
			t.Errorf("raise to %d: %v", recorded, err)
		}
	}
	next, err := c.AcquireRun(t.Context(), p.ID, run.Number, "a", time.Hour)
	if err != nil || next.Fence != 41 {
		t.Errorf("the next fence is %d, %v", next.Fence, err)
	}
	if err := c.RaiseFence(t.Context(), lease, 99); !errors.Is(err, pipeline.ErrLeaseLost) {
		t.Errorf("a zombie raised the fence: %v", err)
	}
}

// A catalog keeps its identity, and no two have the same.
func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	id := func(path string) string {
		c, err := Open(t.Context(), path, "host-1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		id, err := c.ID(t.Context())
		if err != nil || len(id) != 32 {
			t.Errorf("identity %q, %v", id, err)
		}
		return id
	}
	if first, again := id(path), id(path); first != again {
		t.Errorf("opened again, the identity is %s and not %s", again, first)
	}
	if first, other := id(path), id(filepath.Join(t.TempDir(), "catalog.db")); first == other {
		t.Errorf("two catalogs have identity %s", first)
	}
}

// A pipeline continues with the number after its destination's last run, from the
// cursor after the last run that both have; the numbers of the others are not used
// again.
func TestRestartPipeline(t *testing.T) {
	for name, tt := range map[string]struct {
		restart  Restart
		cursor   int64 // sequence of the live phase
		next     int64 // number
		runs     int
		dropOpen bool
	}{
		"the destination is ahead":   {Restart{Agreed: 2, Last: pipeline.Committed{Number: 5, Content: "theirs"}, Fence: 40}, 2, 6, 2, true},
		"its last run is another":    {Restart{Agreed: 1, Last: pipeline.Committed{Number: 2, Content: "theirs"}}, 1, 4, 1, true},
		"it lost a run":              {Restart{Agreed: 1, Last: pipeline.Committed{Number: 1, Content: "c1"}}, 1, 4, 1, true},
		"it lost all runs":           {Restart{}, 0, 4, 0, true},
		"it lost all, none was open": {Restart{}, 0, 3, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCatalog(t)
			p := register(t, c, definition(t, "events", "2026-01-01", ""), nil)
			for number := int64(1); number <= 3; number++ {
				if number == 3 && !tt.dropOpen {
					break
				}
				run := unplanned(nil, pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: number}})
				run.Content = fmt.Sprintf("c%d", number)
				if err := c.InsertRun(t.Context(), reload(t, c), run); err != nil {
					t.Fatal(err)
				}
				lease, err := c.AcquireRun(t.Context(), p.ID, number, "a", time.Hour)
				if err == nil && number < 3 {
					err = c.RecordReceipt(t.Context(), lease, pipeline.Receipt{})
				} else if err == nil {
					err = c.RecordFailure(t.Context(), lease, "diverged", "retryable", true)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			stale := *reload(t, c)
			if err := c.RestartPipeline(t.Context(), &stale, tt.restart); err != nil {
				t.Fatal(err)
			}
			got := reload(t, c)
			if got.Committed != tt.restart.Last || got.Cursor.Live.Seq != tt.cursor || got.Fence < tt.restart.Fence || !got.PlannedAt.IsZero() {
				t.Errorf("the pipeline is %+v", got)
			}
			if runs, err := c.Runs(t.Context(), p.ID, 10); err != nil || len(runs) != tt.runs {
				t.Errorf("%d runs, want %d: %v", len(runs), tt.runs, err)
			}
			run := unplanned(nil, pipeline.Cursor{})
			if err := c.InsertRun(t.Context(), got, run); err != nil || run.Number != tt.next {
				t.Errorf("the next run is %d, want %d: %v", run.Number, tt.next, err)
			}
			if err := c.RestartPipeline(t.Context(), &stale, tt.restart); tt.next != stale.LastRun+1 && !errors.Is(err, ErrRunPlanned) {
				t.Errorf("restarted from an old state: %v", err)
			}
		})
	}
}

// A failed run keeps the class of its error, is tried again by RetryFailed, and
// has neither error nor class while it is.
func TestAFailedRunIsRetriedWithItsPipeline(t *testing.T) {
	c := newCatalog(t)
	p, run := planned(t, c)
	if again, err := c.RetryFailed(t.Context(), p.ID); err != nil || again {
		t.Errorf("a run that has not failed is retried: %v", err)
	}
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RecordFailure(t.Context(), lease, "no such bucket", "configuration", true); err != nil {
		t.Fatal(err)
	}
	if r := latest(t, c, p); r.State != pipeline.RunFailed || r.Error != "no such bucket" || r.ErrorClass != "configuration" {
		t.Errorf("%+v", r.Run)
	}
	if again, err := c.RetryFailed(t.Context(), p.ID); err != nil || !again {
		t.Fatal(again, err)
	}
	if _, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	if r := latest(t, c, p); r.State != pipeline.RunRunning || r.Error != "" || r.ErrorClass != "" {
		t.Errorf("%+v", r.Run)
	}
}
