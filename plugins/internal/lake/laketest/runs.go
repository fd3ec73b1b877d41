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

// Days are a run's partitions by date, with the number of batches of each. A
// set that is replaced has one partition with an empty date.
type Days map[string]int

// rowsPerBatch of runs.
const rowsPerBatch = 100

// tag is what the rows of a partition begin with: they tell their run.
func tag(run sdk.Run, date string) string {
	return fmt.Sprintf("%s-%d-%s", run.Pipeline, run.Number, date)
}

// Lines are the rows of a run by date, as a reader finds them.
func Lines(run sdk.Run, days Days) map[string][]string {
	lines := make(map[string][]string)
	for date, batches := range days {
		for i := range batches {
			lines[date] = append(lines[date], linesOf(Rows(fmt.Sprintf("%s-%d", tag(run, date), i+1), rowsPerBatch))...)
		}
	}
	return lines
}

// Attempt does all of a run up to Prepare, as the host would. Of a run that is
// committed already it does nothing.
func Attempt(ctx context.Context, l *lake.Lake, run sdk.Run, days Days) (r sdk.Receipt, err error) {
	last, err := l.Open(ctx, run)
	if err != nil || last.Number >= run.Number {
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

// Export does a run as the host would: an attempt that fails is aborted.
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

// Retry exports a run as the host would behind every failure: with a new
// process and a higher fence, and only if Status does not say committed. An
// error that was not injected ends it.
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
