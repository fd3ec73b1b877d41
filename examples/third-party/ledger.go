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

// ledger is the file ledger.json: the pipeline that holds the directory, and
// the state of each pipeline that has ever held it, by id.
type ledger struct {
	Owner     string            `json:"owner"`
	Pipelines map[string]*state `json:"pipelines"`
}

// state holds the fence, the last run and the files of one pipeline in the
// directory. State and files stay when another pipeline adopts the directory.
type state struct {
	Fence   int64       `json:"fence"`    // the newest one that a run was opened with
	Content string      `json:"content"`  // of the run that holds the fence
	LastRun sdk.LastRun `json:"last_run"` // the last committed run; zero: no run is committed
	Files   []string    `json:"files"`    // of all committed runs
}

// of returns the state of the run's pipeline, or an empty state if the
// pipeline has not written to the directory.
func (l *ledger) of(run sdk.Run) *state {
	if s := l.Pipelines[run.PipelineID]; s != nil {
		return s
	}
	return new(state)
}

// claim gives the directory to a run and its fence.
func (l *ledger) claim(run sdk.Run) error {
	if l.Owner != "" && l.Owner != run.PipelineID && !run.Adopt {
		return sdk.Configuration(
			fmt.Errorf("the directory holds the rows of a pipeline with id %s", l.Owner),
			"give this pipeline a path of its own, or set adopt = true on it")
	}
	s := l.of(run)
	if err := s.refuse(run); err != nil {
		return err
	}
	s.Fence, s.Content = run.Fence, run.Content
	l.Owner, l.Pipelines[run.PipelineID] = run.PipelineID, s
	return nil
}

// refuse returns an error for a run whose fence is older than the newest one.
// A host whose data directory was copied may give the newest fence to another
// run: the content tells them apart.
func (s *state) refuse(run sdk.Run) error {
	if s.Fence > run.Fence || s.Fence == run.Fence && s.Content != run.Content {
		return sdk.Fenced(fmt.Errorf("fence %d of run %d was overtaken by fence %d", run.Fence, run.Number, s.Fence))
	}
	return nil
}

// commit makes the run the last committed one, unless another host or pipeline
// has taken the directory since the run was opened.
func (l *ledger) commit(run sdk.Run, receipt sdk.Receipt) error {
	s := l.of(run)
	if l.Owner != run.PipelineID {
		return sdk.Fenced(fmt.Errorf("pipeline %s has taken over the directory", l.Owner))
	}
	if err := s.refuse(run); err != nil {
		return err
	}
	if done, err := s.LastRun.Holds(run); done || err != nil {
		return err // a repeated commit, or another host's run of this number
	}
	s.LastRun = run.Last()
	for _, p := range receipt.Partitions {
		s.Files = append(s.Files, p.Objects...)
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
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		err = json.Unmarshal(data, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if l.Pipelines == nil {
		l.Pipelines = make(map[string]*state)
	}
	return l, nil
}

// replace writes the ledger next to the old one and renames it: a reader sees
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
