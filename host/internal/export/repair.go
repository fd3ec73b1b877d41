package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// RepairStore leases pipelines for repairs.
type RepairStore interface {
	// AcquireRepair leases the pipeline to owner with a new fence. No other owner
	// can lease one of its runs while the lease lasts; pipeline.ErrLeased when one
	// has.
	AcquireRepair(ctx context.Context, pipelineID, owner string, ttl time.Duration) (pipeline.Lease, error)
	// RenewRepair extends the lease; pipeline.ErrLeaseLost when the pipeline has a
	// newer fence.
	RenewRepair(ctx context.Context, lease pipeline.Lease, ttl time.Duration) error
	ReleaseRepair(ctx context.Context, lease pipeline.Lease) error
}

// RepairJob names a committed run and the parts of it to send again. It records
// nothing in the catalog: the run stays as it is.
type RepairJob struct {
	Pipeline    *pipeline.Pipeline
	Run         *pipeline.Run
	Destination Destination
	// Parts are indices of the run's parts, ascending.
	Parts []int
	// Repair is the request to the destination. Partitions is filled in.
	Repair protocol.Repair
}

// Repair restores objects of a committed run: it sends the parts again, compares
// the prepared receipt with that of the first commit, and lets the destination
// show the objects. It may be repeated after any error.
func (x *Exporter) Repair(ctx context.Context, store RepairStore, job RepairJob) error {
	err := x.repairOnce(ctx, store, job)
	if errors.Is(err, protocol.ErrExtent) {
		return x.sending().repairOnce(ctx, store, job)
	}
	return err
}

// repairOnce makes an attempt at a repair with one fence.
func (x *Exporter) repairOnce(ctx context.Context, store RepairStore, job RepairJob) error {
	lease, err := store.AcquireRepair(ctx, job.Pipeline.ID, x.Owner, x.LeaseTTL)
	if err != nil {
		return fmt.Errorf("lease pipeline %s for a repair: %w", job.Pipeline.Name, err)
	}
	leased, release := x.keep(ctx, func(ctx context.Context) error { return store.RenewRepair(ctx, lease, x.LeaseTTL) })
	err = x.repair(leased, job, lease)
	if lost := release(); lost != nil {
		err = errors.Join(lost, err)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if releaseErr := store.ReleaseRepair(ending, lease); releaseErr != nil && !errors.Is(releaseErr, pipeline.ErrLeaseLost) {
		err = errors.Join(err, releaseErr)
	}
	if err != nil {
		return fmt.Errorf("repair run %d of pipeline %s: %w", job.Run.Number, job.Pipeline.Name, withHint(err))
	}
	return nil
}

func (x *Exporter) repair(ctx context.Context, job RepairJob, lease pipeline.Lease) error {
	t := newTransfer(Job{Pipeline: job.Pipeline, Run: job.Run, Destination: job.Destination}, lease, nil, x)
	session, err := job.Destination.Export(ctx, t.countRejected)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := t.restore(ctx, session, x, job); err != nil {
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		// The attempt's error names the cause; an error of Abort would only hide
		// it.
		_ = session.Abort(abort, false)
		return err
	}
	return nil
}

// restore carries out a repair over an open stream.
func (t *transfer) restore(ctx context.Context, session Session, x *Exporter, job RepairJob) error {
	run := t.protocolRun()
	run.Adopt = false
	run.Repair = &protocol.Repair{}
	*run.Repair = job.Repair
	run.Repair.Partitions = len(t.parts)
	last, err := session.Open(ctx, run)
	if err != nil {
		return err
	}
	if last.Number < run.Number {
		return permanent("the destination's last committed run is run %d", last.Number)
	}
	for _, index := range job.Parts {
		if index < 0 || index >= len(t.parts) {
			return permanent("part %d of %d does not exist", index, len(t.parts))
		}
		if err := t.sendPartition(ctx, session, x, index); err != nil {
			return err
		}
	}
	prepared, err := session.Prepare(ctx, t.totals())
	if err != nil {
		return err
	}
	if err := t.sameAsCommitted(prepared, job.Parts); err != nil {
		return fmt.Errorf("prepared receipt: %w", err)
	}
	crashpoint.Here("repair.prepared")
	_, err = session.Commit(ctx)
	return err
}

// countRejected counts the rows that the destination refuses again. They are in
// quarantine since the first time.
func (t *transfer) countRejected(rows []protocol.RejectedRow) error {
	for _, r := range rows {
		if r.Partition < 0 || r.Partition >= len(t.parts) {
			return permanent("the plugin rejected a row of partition %d, and there are %d", r.Partition, len(t.parts))
		}
		t.parts[r.Partition].refused++
	}
	return nil
}

// sameAsCommitted compares the receipt of a repair with the rows that were sent
// and with the receipt of the first commit: rows, size and names of the objects.
func (t *transfer) sameAsCommitted(prepared protocol.Receipt, parts []int) error {
	if len(prepared.Partitions) != len(parts) {
		return permanent("it lists %d partitions, %d were sent", len(prepared.Partitions), len(parts))
	}
	for i, got := range prepared.Partitions {
		if got.Index != parts[i] {
			return permanent("it lists partition %d, sent was %d", got.Index, parts[i])
		}
		p := t.parts[got.Index]
		switch {
		case got.Rows+got.Rejected != p.sent.Rows || got.Rejected != p.refused:
			return permanent("partition %s: %d rows and %d rejected, sent were %d", p.Date, got.Rows, got.Rejected, p.sent.Rows)
		case got.Rejected == 0 && got.RowsBytes > 0 && (got.RowsBytes != p.sent.RowsBytes || got.RowsCRC32 != p.sent.RowsCRC32):
			return permanent("partition %s: it holds %d bytes with checksum %08x, sent were %d with %08x",
				p.Date, got.RowsBytes, got.RowsCRC32, p.sent.RowsBytes, p.sent.RowsCRC32)
		}
		if err := sameObjects(t.job.Run.Receipt, got, p.Date); err != nil {
			return err
		}
	}
	return nil
}

// keptNames is the number of objects that a receipt names at most.
const keptNames = 10_000

// sameObjects compares a partition of a repair with the receipt of the first
// commit: size, and names if the receipt has all of them. One that was made from
// the plan has neither.
func sameObjects(committed *pipeline.Receipt, got protocol.PartitionReceipt, date string) error {
	if committed == nil || committed.Planned || got.Index >= len(committed.Partitions) {
		return nil
	}
	names := 0
	for _, p := range committed.Partitions {
		names += len(p.Objects)
	}
	want := committed.Partitions[got.Index]
	sameNames := names == 0 || names >= keptNames || slices.Equal(want.Objects, got.Objects)
	if want.StoredBytes != int64(got.StoredBytes) || !sameNames {
		return permanent("partition %s: it has %d objects of %d bytes, and %d of %d bytes were committed: the plugin was changed since and cuts or compresses runs otherwise",
			date, len(got.Objects), got.StoredBytes, len(want.Objects), want.StoredBytes)
	}
	return nil
}
