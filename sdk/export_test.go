package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func TestARunPassesThroughItsStates(t *testing.T) {
	t.Parallel()
	var got []string
	d := &double{
		write: func(_ context.Context, run Run, p Partition, r *batch.Reader) (PartitionReceipt, error) {
			receipt, err := drainReader(r)
			got = append(got, fmt.Sprintf("write run %d partition %d of %s", run.Number, p.Index, p.Date))
			receipt.Objects = []string{"o"}
			return receipt, err
		},
		commit: func(_ context.Context, run Run, r Receipt) error {
			got = append(got, fmt.Sprintf("commit run %d fence %d of %d partitions", run.Number, run.Fence, len(r.Partitions)))
			return nil
		},
		abort: func(context.Context, Run, bool) error { got = append(got, "abort"); return nil },
	}
	_, c := configured(t, d)
	e := opened(t, c, testRun(3, 9))
	sendPartition(t, e, 0, 2)
	sendPartition(t, e, 1, 0)
	prepared, err := e.Prepare(t.Context(), batch.Totals{PayloadBytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	committed, err := e.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(prepared, committed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]PartitionReceipt{{Objects: []string{"o"}}, {Index: 1, Objects: []string{"o"}}}, committed.Partitions); diff != "" {
		t.Error(diff)
	}
	want := []string{
		"write run 3 partition 0 of 2026-06-01", "write run 3 partition 1 of 2026-06-01", "commit run 3 fence 9 of 2 partitions",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsOutOfTurnIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tests := map[string]func(e *protocol.Exporter) error{
		"commit without prepare": func(e *protocol.Exporter) error { _, err := e.Commit(ctx); return err },
		"batch without partition": func(e *protocol.Exporter) error {
			_ = e.Send(ctx, emptyBatch())
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"open twice": func(e *protocol.Exporter) error { _, err := e.Open(ctx, testRun(1, 1)); return err },
		"prepare inside of a partition": func(e *protocol.Exporter) error {
			_ = e.BeginPartition(ctx, Partition{Date: "2026-06-01"})
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"prepare twice": func(e *protocol.Exporter) error {
			if _, err := e.Prepare(ctx, batch.Totals{}); err != nil {
				return fmt.Errorf("the first time: %w", errors.New(err.Error()))
			}
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"the second partition first": func(e *protocol.Exporter) error {
			_ = e.BeginPartition(ctx, Partition{Index: 1, Date: "2026-06-01"})
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"no date": func(e *protocol.Exporter) error {
			_ = e.BeginPartition(ctx, Partition{})
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"an invalid date": func(e *protocol.Exporter) error {
			_ = e.BeginPartition(ctx, Partition{Date: "2026-02-30"})
			_, err := e.Prepare(ctx, batch.Totals{})
			return err
		},
		"totals that differ": func(e *protocol.Exporter) error { _, err := e.Prepare(ctx, batch.Totals{Rows: 1}); return err },
	}
	for name, call := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var aborts atomic.Int32
			_, c := configured(t, &double{abort: func(_ context.Context, _ Run, discard bool) error {
				if !discard {
					aborts.Add(1)
				}
				return nil
			}})
			e := opened(t, c, testRun(1, 1))
			expectClass(t, call(e), protocol.Permanent)
			e.Close()
			if aborts.Load() != 1 {
				t.Errorf("%d aborts without discard, want 1", aborts.Load())
			}
		})
	}
}

func TestAWriteThatBreaksItsPromiseFailsTheRun(t *testing.T) {
	t.Parallel()
	fault := errors.New("disk on fire")
	tests := map[string]struct {
		write func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error)
		class protocol.Class
		want  string
	}{
		"returns early": {func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error) {
			return PartitionReceipt{}, nil
		}, protocol.Permanent, "before the end"},
		"loses rows": {func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
			receipt, err := drainReader(r)
			receipt.Rows++
			return receipt, err
		}, protocol.Permanent, "it stored 1 rows and rejected 0 of 0"},
		"another CRC": {func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
			receipt, err := drainReader(r)
			receipt.RowsCRC32 = 7
			return receipt, err
		}, protocol.Permanent, "CRC-32 00000007"},
		"counts rejections that it did not report": {func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
			receipt, err := drainReader(r)
			receipt.Rejected = 1
			return receipt, err
		}, protocol.Permanent, "says that it rejected 1"},
		"an error without a class": {func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error) {
			return PartitionReceipt{}, fault
		}, protocol.Retryable, "disk on fire"},
		"an error with one": {func(context.Context, Run, Partition, *batch.Reader) (PartitionReceipt, error) {
			return PartitionReceipt{}, fmt.Errorf("write: %w", Configuration(fault, "use another disk"))
		}, protocol.Configuration, "disk on fire"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := configured(t, &double{write: tt.write})
			e := opened(t, c, testRun(1, 1))
			err := e.BeginPartition(t.Context(), Partition{Date: "2026-06-01"})
			if err == nil {
				err = e.EndPartition(t.Context(), batch.Totals{})
			}
			if err == nil {
				_, err = e.Prepare(t.Context(), batch.Totals{})
			}
			expectClass(t, err, tt.class)
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAnAbortInsideOfAPartitionReachesTheDestination(t *testing.T) {
	t.Parallel()
	aborted := make(chan bool, 2)
	_, c := configured(t, &double{abort: func(_ context.Context, _ Run, discard bool) error {
		aborted <- discard
		return nil
	}})
	e := opened(t, c, testRun(1, 1))
	if err := e.BeginPartition(t.Context(), Partition{Date: "2026-06-01"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Abort(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if discard := <-aborted; !discard || len(aborted) > 0 {
		t.Errorf("abort with discard %v, then %d more; want one with discard", discard, len(aborted))
	}
}

func TestACutStreamEndsTheWriteAndAborts(t *testing.T) {
	t.Parallel()
	aborted := make(chan struct{})
	reading := make(chan struct{})
	var once atomic.Bool
	_, c := configured(t, &double{
		write: func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
			if once.CompareAndSwap(false, true) {
				close(reading)
			}
			return drainReader(r)
		},
		abort: func(ctx context.Context, _ Run, discard bool) error {
			if ctx.Err() != nil || discard {
				t.Errorf("abort with context error %v, discard %v", ctx.Err(), discard)
			}
			close(aborted)
			return nil
		},
	})
	e := opened(t, c, testRun(1, 1))
	if err := e.BeginPartition(t.Context(), Partition{Date: "2026-06-01"}); err != nil {
		t.Fatal(err)
	}
	<-reading
	e.Close()
	<-aborted
}

func TestOneExportOfAProjectAtATime(t *testing.T) {
	t.Parallel()
	_, c := configured(t, &double{})
	first := opened(t, c, testRun(1, 1))
	second, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := second.Open(ctx, testRun(1, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second Open = %v, want to wait for the first", err)
	}
	if err := first.Abort(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	opened(t, c, testRun(1, 3))
}

// A destination whose service does not answer gives Open up before the host kills the
// process. Refusals, a stream that was cut and an attempt that was opened in time are as
// they were.
func TestOpenEndsBeforeTheHostsLimit(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) (LastRun, error) { <-ctx.Done(); return LastRun{}, ctx.Err() }
	_, err := openWithin(t.Context(), time.Millisecond, hang)
	if expectClass(t, err, protocol.Retryable); !strings.Contains(err.Error(), "has not opened the run within 1ms") {
		t.Errorf("the error is %v", err)
	}
	_, err = openWithin(t.Context(), time.Millisecond, func(ctx context.Context) (LastRun, error) {
		<-ctx.Done()
		return LastRun{}, Fenced(errors.New("a newer attempt"))
	})
	expectClass(t, err, protocol.Fenced)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = openWithin(cut, time.Hour, hang); err != context.Canceled { //nolint:errorlint // as it was
		t.Errorf("the error of a stream that was cut is %v", err)
	}
	var kept context.Context
	last, err := openWithin(t.Context(), time.Hour, func(ctx context.Context) (LastRun, error) { kept = ctx; return LastRun{Number: 3}, nil })
	if err != nil || last.Number != 3 || kept.Err() != nil {
		t.Errorf("opened %+v, %v, context %v", last, err, kept.Err())
	}
}

// An attempt whose Abort goes on holds the next Open no longer than the limit, which the
// destination's own Open shares with the wait.
func TestOpenDoesNotWaitForAnAbortForLong(t *testing.T) {
	t.Parallel()
	run := testRun(1, 2)
	s := &server{projects: map[int64]*project{run.ProjectID: newProject(&double{}, hclog.NewNullLogger())}}
	_, abort, err := s.hold(t.Context(), run.ProjectID)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = s.openRun(t.Context(), run, time.Millisecond)
	if expectClass(t, err, protocol.Retryable); !strings.Contains(err.Error(), "another export of this project is open") {
		t.Errorf("the error is %v", err)
	}
	abort()
	_, release, _, err := s.openRun(t.Context(), run, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestWithoutAnOpenerTheProcessKeepsTheFence(t *testing.T) {
	t.Parallel()
	_, c := configured(t, &double{status: func(context.Context, Run) (Status, error) {
		return Status{State: Absent, Last: LastRun{Number: 4}}, nil
	}})
	e := opened(t, c, testRun(5, 7))
	if err := e.Abort(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	// A new configuration does not forget it.
	if _, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/"}`)); err != nil {
		t.Fatal(err)
	}
	late, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	_, err = late.Open(t.Context(), testRun(5, 6))
	expectClass(t, err, protocol.Fenced)
	last := opened(t, c, testRun(4, 8))
	_ = last.BeginPartition(t.Context(), Partition{Date: "2026-06-01"})
	_, err = last.Prepare(t.Context(), batch.Totals{})
	expectClass(t, err, protocol.Permanent)
}

// The content of a committed run reaches the host from Open and from Status,
// also of a destination that returns nothing but its ledger.
func TestTheContentOfACommittedRunIsHandedOn(t *testing.T) {
	t.Parallel()
	ledger := LastRun{Number: 4, Content: "c4"}
	_, c := configured(t, &double{status: func(context.Context, Run) (Status, error) { return Status{Last: ledger}, nil }})
	e, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if last, err := e.Open(t.Context(), testRun(5, 1)); err != nil || last != ledger {
		t.Errorf("Open = %+v, %v; want %+v", last, err, ledger)
	}
	for number, want := range map[int64]Status{
		3: {State: Committed, Last: ledger},
		4: {State: Committed, Last: ledger, Content: "c4"},
		5: {State: Absent, Last: ledger},
	} {
		got, err := c.Status(t.Context(), testRun(number, 0))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Status of run %d: %v\n%s", number, err, diff)
		}
	}
}

func TestStatusIsInDoubtWhileTheProcessCommits(t *testing.T) {
	t.Parallel()
	committing, finish := make(chan struct{}), make(chan struct{})
	_, c := configured(t, &double{commit: func(context.Context, Run, Receipt) error {
		close(committing)
		<-finish
		return errors.New("no answer")
	}})
	e := opened(t, c, testRun(1, 1))
	if _, err := e.Prepare(t.Context(), batch.Totals{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := e.Commit(t.Context()); done <- err }()
	<-committing
	if s, err := c.Status(t.Context(), testRun(1, 0)); err != nil || s.State != InDoubt {
		t.Errorf("Status during the commit = %+v, %v; want in doubt", s, err)
	}
	if s, err := c.Status(t.Context(), testRun(2, 0)); err != nil || s.State != Absent {
		t.Errorf("Status of another run = %+v, %v; want absent", s, err)
	}
	close(finish)
	if err := <-done; !errors.Is(err, protocol.ErrUnknown) {
		t.Errorf("Commit = %v, want ErrUnknown", err)
	}
	if s, err := c.Status(t.Context(), testRun(1, 0)); err != nil || s.State != Absent {
		t.Errorf("Status after the commit has failed = %+v, %v; want absent", s, err)
	}
}

func TestRejectedRowsArriveBeforePrepareReturns(t *testing.T) {
	t.Parallel()
	_, c := configured(t, &double{write: func(_ context.Context, _ Run, _ Partition, r *batch.Reader) (PartitionReceipt, error) {
		if err := r.Reject(0, "too odd", []byte("row")); err != nil {
			return PartitionReceipt{}, err
		}
		_, err := drainReader(r)
		return PartitionReceipt{}, err
	}})
	var got []protocol.RejectedRow
	e, err := c.Export(t.Context(), func(rows []protocol.RejectedRow) error { got = append(got, rows...); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Open(t.Context(), testRun(1, 1)); err != nil {
		t.Fatal(err)
	}
	// One row, as the batch says: it is not decoded here.
	b := emptyBatch()
	b.Rows = 1
	var totals batch.Totals
	totals.Add(b)
	err = e.BeginPartition(t.Context(), Partition{Date: "2026-06-01"})
	if err = errors.Join(err, e.Send(t.Context(), b), e.EndPartition(t.Context(), totals)); err != nil {
		t.Fatal(err)
	}
	receipt, err := e.Prepare(t.Context(), totals)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]PartitionReceipt{{Rejected: 1}}, receipt.Partitions); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]protocol.RejectedRow{{Reason: "too odd", Line: []byte("row")}}, got); diff != "" || e.Rejected() != 1 {
		t.Errorf("%d rejected: %s", e.Rejected(), diff)
	}
}

func TestDrainWaitsForWhatIsOpenAndRefusesMore(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	s, c := configured(t, &double{closed: func() { closed.Add(1) }})
	e := opened(t, c, testRun(1, 1))
	s.drain() // as the call below does, which may end before it has reached the server
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := c.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain = %v while an export is open", err)
	}
	late, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	_, err = late.Open(t.Context(), testRun(1, 2))
	expectClass(t, err, protocol.Retryable)
	if err := e.Abort(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("Drain = %v when nothing is open", err)
	}
	if err := s.end(exitTimeout); err != nil || closed.Load() != 1 {
		t.Errorf("end = %v, closed %d times", err, closed.Load())
	}
}

// BenchmarkExport measures the wire: one destination that looks at nothing.
func BenchmarkExport(b *testing.B) {
	for _, size := range []int{150 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			_, c := configured(b, &double{})
			e := opened(b, c, testRun(1, 1))
			payload := make([]byte, size)
			copy(payload[size-4:], []byte{0, 0, 0xff, 0xff})
			block := &batch.Batch{Payload: payload}
			if err := e.BeginPartition(b.Context(), Partition{Date: "2026-06-01"}); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Send(b.Context(), block); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
