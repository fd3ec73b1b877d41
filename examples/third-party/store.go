package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// store is the destination: the four methods that every one has, Open, which
// makes a second host harmless, and Abort, which cleans up.
type store struct {
	dir string
}

var _ interface {
	sdk.Destination
	sdk.Opener
	sdk.Aborter
} = (*store)(nil)

// Targets returns the directory that the store writes to. Two destinations with the same path have the
// same target, and the host does not let two pipelines share it.
func (s *store) Targets() []sdk.Target {
	return []sdk.Target{{Stream: sdk.Events, URI: "ndjson:" + filepath.Clean(s.dir)}}
}

// Open claims the directory: the ledger takes the fence, and refuses an older
// one and another pipeline.
func (s *store) Open(_ context.Context, run sdk.Run) (last sdk.LastRun, err error) {
	err = s.edit(func(l *ledger) error {
		if err := l.claim(run); err != nil {
			return err
		}
		last = l.of(run).LastRun
		return nil
	})
	return last, err
}

// stem is the beginning of a run's file names: pipeline, number and content. A
// retry has the same names and the same rows, so it overwrites itself, and
// nothing but itself: neither the files of a pipeline whose directory was
// adopted, nor those of a host that was copied.
func stem(run sdk.Run) string {
	return fmt.Sprintf("%s-%08d-%s", run.PipelineID, run.Number, run.Content)
}

// Write stores a partition. The index is part of the name: a date may come more
// than once in a run.
func (s *store) Write(_ context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	name := fmt.Sprintf("%s-%04d-%s.ndjson", stem(run), p.Index, p.Date)
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return sdk.PartitionReceipt{}, fmt.Errorf("create %s: %w", name, err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	receipt, err := copyRows(w, r)
	// The host may commit once Write has returned: the rows must be on disk.
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return sdk.PartitionReceipt{}, fmt.Errorf("write %s: %w", name, err)
	}
	receipt.Objects = []string{name}
	return receipt, nil
}

// copyRows copies the partition's rows to w and returns a receipt for them. An
// error of Next means that the stream was cut: copyRows returns the error, and
// the host sends the run again.
func copyRows(w io.Writer, r *batch.Reader) (sdk.PartitionReceipt, error) {
	var rows []byte
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			t := r.Totals()
			return sdk.PartitionReceipt{
				Rows: t.Rows, RowsBytes: t.RowsBytes, RowsCRC32: t.RowsCRC32, StoredBytes: t.RowsBytes,
			}, nil
		}
		if err != nil {
			return sdk.PartitionReceipt{}, err
		}
		if rows, err = b.AppendRows(rows[:0]); err != nil {
			return sdk.PartitionReceipt{}, err
		}
		if _, err := w.Write(rows); err != nil {
			return sdk.PartitionReceipt{}, err
		}
	}
}

// Commit writes the run into the ledger, in one rename. From then on the run's
// files count.
func (s *store) Commit(_ context.Context, run sdk.Run, receipt sdk.Receipt) error {
	return s.edit(func(l *ledger) error { return l.commit(run, receipt) })
}

// Status reads the ledger.
func (s *store) Status(_ context.Context, run sdk.Run) (sdk.Status, error) {
	l, err := s.read()
	if err != nil {
		return sdk.Status{}, err
	}
	of := l.of(run)
	return sdk.Status{Last: of.LastRun, Fence: of.Fence}, nil
}

// Abort removes the run's files when the host gives the run up. Otherwise they
// stay: the next attempt overwrites them.
func (s *store) Abort(_ context.Context, run sdk.Run, discard bool) error {
	if !discard {
		return nil
	}
	return s.edit(func(l *ledger) error {
		if of := l.of(run); of.refuse(run) != nil || of.LastRun.Number >= run.Number {
			return nil // another attempt has taken over, or the run is committed
		}
		files, err := filepath.Glob(filepath.Join(s.dir, stem(run)+"-*.ndjson"))
		for _, name := range files {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	})
}
