package store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// aside is the directory where a repair keeps files until they are shown.
func (s *Store) aside(run sdk.Run) string {
	return filepath.Join(s.base(run.Stream), "repairs", run.PipelineID, fmt.Sprint(run.Fence))
}

// openRepair claims the target for a repair.
func (s *Store) openRepair(run sdk.Run) (sdk.LastRun, error) {
	l, err := edit(s.base(run.Stream), func(l *ledger) error {
		if s.overtaken(l, run) && !s.lies("repair_ignores_older_fences") {
			return fenced(l, run)
		}
		c := l.find(run.PipelineID, run.Number)
		switch {
		case c == nil:
			return sdk.Permanent(fmt.Errorf("run %d is not committed", run.Number))
		case c.Content != run.Content && !s.lies("repair_ignores_content"):
			return sdk.Permanent(fmt.Errorf("run %d was committed with content %s", run.Number, c.Content))
		case replacedBy(l, c):
			return sdk.Permanent(fmt.Errorf("run %d was replaced", run.Number))
		}
		if !s.lies("repair_records_no_fence") {
			l.Fences[run.PipelineID], l.Contents[run.PipelineID] = run.Fence, run.Content
		}
		return nil
	})
	if err != nil {
		return sdk.LastRun{}, err
	}
	return l.Last[run.PipelineID], os.MkdirAll(s.aside(run), 0o700)
}

// writeRepair keeps a partition aside if its file is not as it was committed.
func (s *Store) writeRepair(run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	receipt := sdk.PartitionReceipt{}
	var data []byte
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			data, err = s.take(data, b, r, &receipt)
		}
		if err != nil {
			return receipt, err
		}
	}
	name := fmt.Sprintf("%04d-%s.ndjson", p.Index, p.Date)
	receipt.Objects, receipt.StoredBytes = []string{name}, uint64(len(data))
	if s.lies("repair_changes_bytes") {
		data = append(data, ' ')
	}
	found, err := os.ReadFile(filepath.Join(s.runDir(run), name))
	if err == nil && string(found) == string(data) || s.lies("repair_restores_nothing") {
		return receipt, nil
	}
	dir := s.aside(run)
	if s.lies("repair_shows_early") {
		dir = s.runDir(run)
	}
	return receipt, writeFile(filepath.Join(dir, name), data)
}

// commitRepair shows the files that were kept aside, and removes unnamed ones.
// The ledger's lock keeps newer attempts out.
func (s *Store) commitRepair(run sdk.Run) error {
	_, err := edit(s.base(run.Stream), func(l *ledger) error {
		if s.overtaken(l, run) && !s.lies("repair_ignores_fence_in_commit") {
			return fenced(l, run)
		}
		kept, err := filepath.Glob(filepath.Join(s.aside(run), "*.ndjson"))
		if err != nil {
			return err
		}
		for _, name := range kept {
			if err := os.Rename(name, filepath.Join(s.runDir(run), filepath.Base(name))); err != nil {
				return err
			}
		}
		if s.lies("repair_moves_the_last_run") {
			l.Last[run.PipelineID] = sdk.LastRun{Number: run.Number, Content: run.Content}
		}
		for _, name := range run.Repair.Remove {
			if !s.named(l, run, name) || s.lies("repair_removes_what_is_named") {
				if err := os.Remove(filepath.Join(s.base(run.Stream), "data", name)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(s.aside(run)))
}

// named reports whether a committed run names a file, or a coming one may.
func (s *Store) named(l *ledger, run sdk.Run, name string) bool {
	number, _ := parse(name)
	c := l.find(run.PipelineID, number)
	if c == nil {
		return number > l.Last[run.PipelineID].Number
	}
	for _, p := range c.Receipt.Partitions {
		if p.Objects[0] == filepath.Base(name) {
			return true
		}
	}
	return false
}

// sums returns the CRC-32 of a run's files by partition.
func (s *Store) sums(run sdk.Run, receipt sdk.Receipt) map[int]uint32 {
	sums := make(map[int]uint32)
	for _, p := range receipt.Partitions {
		if data, err := os.ReadFile(filepath.Join(s.runDir(run), p.Objects[0])); err == nil {
			sums[p.Index] = crc32.ChecksumIEEE(data)
		}
	}
	return sums
}

// Harm changes a file behind the store's back: change gets its bytes, nil for
// none, and returns those to put in their place, nil to remove it. name is that
// of the inventory.
func Harm(_ context.Context, dir string, projectID int64, stream sdk.Stream, name string, change func([]byte) []byte) error {
	path := filepath.Join((&Store{Dir: dir, ProjectID: projectID}).base(stream), "data", name)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if data = change(data); data == nil {
		return os.Remove(path)
	}
	return os.WriteFile(path, data, 0o600)
}
