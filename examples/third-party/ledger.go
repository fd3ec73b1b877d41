package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/penstock-io/penstock/sdk"
)

// ledger is the file ledger.json: who owns the directory, the newest fence,
// the last committed run and the files of all committed runs.
type ledger struct {
	PipelineID string      `json:"pipeline_id"`
	Fence      int64       `json:"fence"`
	LastRun    sdk.LastRun `json:"last_run"`
	Files      []string    `json:"files"`
}

func (l *ledger) claim(run sdk.Run) error {
	if l.PipelineID != "" && l.PipelineID != run.PipelineID && !run.Adopt {
		return sdk.Configuration(
			fmt.Errorf("the directory holds the rows of a pipeline with id %s", l.PipelineID),
			"give this pipeline a path of its own, or set adopt = true on it")
	}
	if l.PipelineID == run.PipelineID && l.Fence > run.Fence {
		return sdk.Fenced(fmt.Errorf("fence %d is older than %d", run.Fence, l.Fence))
	}
	if l.PipelineID != run.PipelineID {
		l.PipelineID, l.LastRun = run.PipelineID, sdk.LastRun{}
	}
	l.Fence = run.Fence
	return nil
}

// commit refuses a host that has lost the directory to another since it
// opened it.
func (l *ledger) commit(run sdk.Run, receipt sdk.Receipt) error {
	if l.PipelineID != run.PipelineID || l.Fence > run.Fence {
		return sdk.Fenced(fmt.Errorf("fence %d is older than %d", run.Fence, l.Fence))
	}
	if done, err := l.LastRun.Holds(run); done || err != nil {
		return err // a repeated commit, or a run of another host
	}
	l.LastRun = run.Last()
	for _, p := range receipt.Partitions {
		l.Files = append(l.Files, p.Objects...)
	}
	return nil
}

// edit changes the ledger under a lock that holds between processes. The
// change is on the disk when edit returns, or nothing has changed.
func (s *store) edit(change func(*ledger) error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("create the directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "ledger.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the ledger: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the ledger: %w", err)
	}
	l, err := s.read()
	if err != nil {
		return err
	}
	if err := change(l); err != nil {
		return err
	}
	return s.replace(l)
}

func (s *store) read() (*ledger, error) {
	l := new(ledger)
	data, err := os.ReadFile(filepath.Join(s.dir, "ledger.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(data, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return l, nil
}

// replace writes the ledger beside the old one and renames it: a reader sees
// one or the other. The directory is synced last, so that the rename, and the
// files that Write has made, outlive a power failure.
func (s *store) replace(l *ledger) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	path := filepath.Join(s.dir, "ledger.json")
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
