package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names in a data directory.
const (
	CatalogFile   = "catalog.db"
	QuarantineDir = "quarantine"
	SocketFile    = "penstock.sock" // of the host that serves the directory
	RunDir        = "run"           // sockets of plugins
	SpillDir      = "spill"         // in which folds sort; emptied when a host starts
	IdentityDir   = "identity"      // indexes of identity links by project; rebuilt when they are missing
	CollectorDir  = "collector"     // write-ahead logs by name of their source
	PullDir       = "pull"          // downloads, and the budgets of projects
	LockFile      = "penstock.lock"
	RestoreFile   = "restore.partial" // a restore has begun and not ended
)

// Dir is a data directory and the directory of its blobs.
type Dir struct {
	Data  string // absolute
	Blobs string // absolute; may lie in Data
}

// Path returns the path of a name in the data directory.
func (d Dir) Path(names ...string) string {
	return filepath.Join(append([]string{d.Data}, names...)...)
}

// Apart reports whether the directory of the blobs lies outside of the data
// directory.
func (d Dir) Apart() bool { return !within(d.Blobs, d.Data) }

// within reports whether a directory lies in another one.
func within(dir, other string) bool {
	relative, err := filepath.Rel(other, dir)
	return err == nil && filepath.IsLocal(relative)
}

// MissingError says that the data directory of a configuration does not exist.
type MissingError struct{ DataDir string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the data directory %s does not exist: data_dir may be mistyped, or no host has run with it yet (penstock run makes it)", e.DataDir)
}

// Check returns a *MissingError if the data directory does not exist.
func (d Dir) Check() error {
	info, err := os.Stat(d.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &MissingError{d.Data}
	case err != nil:
		return fmt.Errorf("use data directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("the data directory %s is a file: name a directory as data_dir", d.Data)
	}
	return nil
}
