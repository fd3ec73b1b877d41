package export

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// errRaised tells Do that the catalog's fence was raised above the one that
// the destination has recorded: another attempt may follow at once.
var errRaised = errors.New("the next fence is above the one at the destination")

const recoverCommand = "penstock pipelines recover"

// NeedsRecovery reports whether text, the stored error of a failed run, is that of a
// *DivergedError or a *LostError. Another attempt alone fails in the same way.
func NeedsRecovery(text string) bool { return strings.Contains(text, recoverCommand) }

// DivergedError says that the destination has committed runs of this pipeline
// that the catalog did not plan: the data directory was restored from a backup,
// or a copy of it exports to the same place.
type DivergedError struct {
	Pipeline string
	Run      int64            // this catalog's
	Last     protocol.LastRun // the destination's
	Detail   string           // the difference, as a clause
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("%s: the data directory was restored from a backup, or a copy of it exports to the same place; nothing was sent. "+
		"Stop the other host if there is one. '%s %s' compares the runs and changes nothing; with --resend it continues after the destination's run %d, "+
		"and sends again the rows that came after the last run that both have",
		e.Detail, recoverCommand, e.Pipeline, e.Last.Number)
}

// LostError says that the destination no longer holds runs that the catalog has
// recorded: it was emptied, or restored from a backup of its own.
type LostError struct {
	Pipeline       string
	Last, Recorded int64 // number of the last run: the destination's, and the catalog's
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the destination's last committed run is run %d, and this catalog has exported up to run %d: it was emptied, or restored "+
		"from a backup; nothing was sent. Restore what it held, or have '%s %s --resend' send the missing runs again",
		e.Last, e.Recorded, recoverCommand, e.Pipeline)
}

// diverged makes a DivergedError of this run.
func (t *transfer) diverged(last protocol.LastRun, format string, args ...any) error {
	return &DivergedError{
		Pipeline: t.job.Pipeline.Name, Run: t.job.Run.Number, Last: last, Detail: fmt.Sprintf(format, args...),
	}
}

// follows returns nil if last, the destination's last committed run, is the
// run that the catalog has recorded as committed. last comes before this run.
// Contents are compared only if both sides know one: runs of old versions have
// no content.
func (t *transfer) follows(last protocol.LastRun) error {
	recorded := t.job.Pipeline.Committed
	switch {
	case last.Number < recorded.Number:
		return &LostError{Pipeline: t.job.Pipeline.Name, Last: last.Number, Recorded: recorded.Number}
	case last.Number > recorded.Number:
		return t.diverged(last, "the destination has committed run %d, and the last one of this catalog is run %d", last.Number, recorded.Number)
	case last.Content != "" && recorded.Content != "" && last.Content != recorded.Content:
		return t.diverged(last, "the destination's last committed run is run %d with content %s, and this catalog exported run %d with content %s",
			last.Number, last.Content, last.Number, recorded.Content)
	}
	return nil
}

// own returns the receipt of the committed run that has this run's number, or
// an error if that run has another content, which no other plan of this run has
// either. If the destination keeps no receipt, own returns the prepared receipt,
// or one made from the plan.
func (t *transfer) own(ctx context.Context, status protocol.Status) (pipeline.Receipt, error) {
	run := t.job.Run
	switch {
	case status.Content == "" && status.Last.Number > run.Number:
		return pipeline.Receipt{}, t.diverged(status.Last, "the destination has committed run %d, and the next one of this catalog is run %d",
			status.Last.Number, run.Number)
	case status.Content == "":
		if err := t.sameRows(ctx, status); err != nil {
			return pipeline.Receipt{}, err
		}
	case status.Content != run.Content:
		replaced, err := t.replan(ctx, status.Content)
		if err != nil {
			return pipeline.Receipt{}, fmt.Errorf("compare run %d, which the destination has committed with content %s, with the journal: %w",
				run.Number, status.Content, err)
		}
		if !replaced {
			return pipeline.Receipt{}, t.diverged(status.Last, "the destination has committed run %d with content %s, and run %d of this catalog has content %s",
				run.Number, status.Content, run.Number, run.Content)
		}
	}
	switch {
	case status.Receipt != nil:
		if err := t.verifyRows(*status.Receipt); err != nil {
			return pipeline.Receipt{}, fmt.Errorf("receipt of the committed run: %w", err)
		}
		return t.receipt(*status.Receipt), nil
	case run.Prepared != nil:
		return *run.Prepared, nil
	default:
		return t.planned(), nil
	}
}

// replan replaces this run, in the catalog and in the job, by the plan that has the
// content of the run that the destination has committed. It reports false, and changes
// nothing, if the journal does not hold that run, or this run was prepared: then rows
// of another host are at the destination, or rows of this one that no run would own.
func (t *transfer) replan(ctx context.Context, content string) (bool, error) {
	run := t.job.Run
	if t.job.Replan == nil || content == "" || run.Prepared != nil || run.Generation != nil {
		return false, nil
	}
	plan, err := t.job.Replan(ctx, content)
	if err != nil || plan == nil || plan.Content != content {
		return false, err
	}
	if err := t.store.ReplaceRun(ctx, t.lease, plan); err != nil {
		return false, fmt.Errorf("replace the plan: %w", err)
	}
	run.Extents, run.Next, run.Content, run.AsOf = plan.Extents, plan.Next, plan.Content, plan.AsOf
	t.parts = partsOf(t.job)
	return true, nil
}

// sameRows compares the receipt of a committed run, whose content the
// destination does not know, with the journal: bytes and checksum of each
// part.
func (t *transfer) sameRows(ctx context.Context, status protocol.Status) error {
	number := t.job.Run.Number
	if status.Receipt == nil {
		return permanent("the destination has committed run %d, and knows neither its content nor a receipt of it: "+
			"it cannot be told from a run of another host", number)
	}
	if err := t.verifyRows(*status.Receipt); err != nil {
		return t.diverged(status.Last, "the destination's receipt of run %d is not that of this catalog: %v", number, err)
	}
	totals, err := t.job.Totals(ctx)
	if err != nil {
		return fmt.Errorf("compare with the receipt of the committed run: %w", err)
	}
	for i, got := range status.Receipt.Partitions {
		switch want := totals[i]; {
		case got.Rejected > 0 || got.RowsBytes == 0 && want.RowsBytes > 0:
			return permanent("the destination has committed run %d, and knows neither its content nor the checksum of partition %s: "+
				"it cannot be told from a run of another host", number, t.parts[i].Date)
		case got.RowsBytes != want.RowsBytes || got.RowsCRC32 != want.RowsCRC32:
			return t.diverged(status.Last, "the destination holds other rows as partition %s of run %d: checksum %08x, and this catalog's have %08x",
				t.parts[i].Date, number, got.RowsCRC32, want.RowsCRC32)
		}
	}
	return nil
}

// planned is the receipt of a run that the destination has committed and knows
// no receipt of. Which rows it may have rejected is not known.
func (t *transfer) planned() pipeline.Receipt {
	out := pipeline.Receipt{Planned: true}
	for _, p := range t.parts {
		out.Rows += p.Rows
		out.Partitions = append(out.Partitions, pipeline.PartitionReceipt{Date: p.Date, Rows: p.Rows})
	}
	return out
}

// refused returns the error of an Open that failed. A destination that has
// recorded a fence that this catalog never gave was written to by a copy, or
// by the host that the backup was made of: it is asked which runs it holds, and
// only if they are this catalog's is the fence raised.
func (t *transfer) refused(ctx context.Context, run protocol.Run, openErr error) error {
	if protocol.ClassOf(openErr) != protocol.Fenced {
		return openErr
	}
	status, err := t.job.Destination.Status(ctx, run)
	if err != nil || status.Fence <= run.Fence {
		return openErr
	}
	switch {
	case status.Last.Number < run.Number:
		err = t.follows(status.Last)
	case status.State == protocol.Committed:
		_, err = t.own(ctx, status)
	}
	if err == nil {
		err = t.store.RaiseFence(ctx, t.lease, status.Fence)
	}
	if err != nil {
		return errors.Join(openErr, err)
	}
	return fmt.Errorf("%w: %w", openErr, errRaised)
}
