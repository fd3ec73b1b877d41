package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/penstock-io/penstock/sdk"
)

// ledger lists the committed runs of one directory.
type ledger struct {
	Fences   map[string]int64       // by pipeline id
	Contents map[string]string      // of the runs that hold the fences, by pipeline id
	Last     map[string]sdk.LastRun // by pipeline id
	Runs     []committedRun         // in order of their commits
}

type committedRun struct {
	PipelineID string
	Number     int64
	Content    string
	Replaces   bool
	Receipt    sdk.Receipt
	Sums       map[int]uint32 // CRC-32 of the files, by partition
}

func (l *ledger) find(id string, number int64) *committedRun {
	for i := range l.Runs {
		if l.Runs[i].PipelineID == id && l.Runs[i].Number == number {
			return &l.Runs[i]
		}
	}
	return nil
}

// visible are the runs that a consumer sees.
func (l *ledger) visible() []committedRun {
	for i := len(l.Runs) - 1; i >= 0; i-- {
		if l.Runs[i].Replaces {
			return l.Runs[i:]
		}
	}
	return l.Runs
}

// edit changes the ledger in dir under a lock between processes. A nil change
// reads it only.
func edit(dir string, change func(*ledger) error) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ledger.json")
	l := &ledger{Fences: make(map[string]int64), Contents: make(map[string]string), Last: make(map[string]sdk.LastRun)}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, l)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil || change == nil {
		return l, err
	}
	if err := change(l); err != nil {
		return l, err
	}
	if data, err = json.Marshal(l); err != nil {
		return l, err
	}
	return l, writeFile(path, data)
}

// writeFile writes a file whole or not at all, and durably.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
