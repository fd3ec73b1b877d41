package laketest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// Days maps the dates of a run's partitions to their numbers of batches. A set
// that is replaced has one partition with an empty date.
type Days map[string]int

// rowsPerBatch is the number of rows in each batch of a run.
const rowsPerBatch = 100

// tag returns the start of all rows of a partition, which identifies their run.
func tag(run sdk.Run, date string) string {
	return fmt.Sprintf("%s-%d-%s", run.Pipeline, run.Number, date)
}

// Lines returns the rows of a run by date, in the order that a reader finds them.
func Lines(run sdk.Run, days Days) map[string][]string {
	lines := make(map[string][]string)
	for date, batches := range days {
		for i := range batches {
			lines[date] = append(lines[date], linesOf(Rows(fmt.Sprintf("%s-%d", tag(run, date), i+1), rowsPerBatch))...)
		}
	}
	return lines
}

// Attempt exports a run up to Prepare, with the calls of the host. It does
// nothing for a run that is already committed, unless it is a repair.
func Attempt(ctx context.Context, l *lake.Lake, run sdk.Run, days Days) (r sdk.Receipt, err error) {
	last, err := l.Open(ctx, run)
	if err != nil || last.Number >= run.Number && run.Repair == nil {
		return r, err
	}
	if r, err = writeDays(ctx, l, run, days); err != nil {
		return r, err
	}
	return r, l.Prepare(ctx, run, r)
}

// writeDays writes the partitions of an open run.
func writeDays(ctx context.Context, l *lake.Lake, run sdk.Run, days Days) (r sdk.Receipt, err error) {
	for i, date := range slices.Sorted(maps.Keys(days)) {
		p, err := l.Write(ctx, run, sdk.Partition{Index: i, Date: date}, Reader(tag(run, date), days[date], rowsPerBatch))
		if err != nil {
			return r, err
		}
		r.Partitions = append(r.Partitions, p)
	}
	return r, nil
}

// Export exports a run with the calls of the host. A failed attempt is aborted.
func Export(ctx context.Context, l *lake.Lake, run sdk.Run, days Days) (sdk.Receipt, error) {
	r, err := Attempt(ctx, l, run, days)
	if err == nil {
		err = l.Commit(ctx, run, r)
	}
	if err == nil {
		return r, nil
	}
	return r, errors.Join(err, l.Abort(ctx, run, false))
}

// Retry exports a run until it is committed. After each failure it asks Status,
// as the host does, and tries again with a new lake and a higher fence. It gives
// up on an error that was not injected.
func Retry(ctx context.Context, newLake func() *lake.Lake, run sdk.Run, days Days) error {
	const tries = 5
	for range tries {
		_, err := Export(ctx, newLake(), run, days)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrInjected) {
			return fmt.Errorf("an error of its own: %w", err)
		}
		if status, err := newLake().Status(ctx, run); err == nil && status.State == sdk.Committed {
			return nil
		}
		run.Fence++
	}
	return fmt.Errorf("run %d does not get through", run.Number)
}
