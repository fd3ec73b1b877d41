package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/penstock-io/penstock/host/internal/durable"
)

// RefusedError says why a file or directory is not used, and what a person can
// do about it.
type RefusedError struct {
	Path   string
	Reason string // "may be written by other users (mode 0777)"
	Remedy string // "run: chmod 700 …"
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s %s; %s", e.Path, e.Reason, e.Remedy) }

// MakeDir makes a directory with mode 0700 when it is missing, and checks it.
func MakeDir(dir string) error {
	if err := durable.MakeDir(dir); err != nil {
		return err
	}
	return CheckDir(dir)
}

const (
	othersWrite   fs.FileMode = 0o022
	everyoneWrite fs.FileMode = 0o002
)

// CheckDir refuses a directory that belongs to another user, that other users
// may write, or that lies in a directory where everyone may replace it.
func CheckDir(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &RefusedError{real, "is not a directory", "move it away, or name another directory"}
	}
	if err := checkOwner(real, info, os.Geteuid()); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&othersWrite != 0 {
		return &RefusedError{
			real, fmt.Sprintf("may be written by other users (mode %04o)", mode),
			fmt.Sprintf("run: chmod 700 %s; where the mode cannot be changed, name a directory in it, which penstock makes", real),
		}
	}
	return checkParents(real)
}

// checkParents refuses a directory above that everyone may write and that is not
// sticky, as /tmp is.
func checkParents(dir string) error {
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&everyoneWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
			return &RefusedError{parent, "may be written by everyone, who could exchange the directories in it", "run: chmod o-w " + parent}
		}
	}
	return nil
}

// checkOwner refuses what belongs to a user other than us.
func checkOwner(path string, info fs.FileInfo, us int) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == us {
		return nil
	}
	owner := userName(stat.Uid)
	return &RefusedError{
		path, fmt.Sprintf("belongs to user %s, and penstock runs as %s", owner, userName(uint32(us))),
		fmt.Sprintf("run penstock as %s, or, if the directory is meant for this user, run: chown -R %d %s", owner, us, path),
	}
}

// userName names a user for people.
func userName(id uint32) string {
	text := strconv.FormatUint(uint64(id), 10)
	if u, err := user.LookupId(text); err == nil {
		return fmt.Sprintf("%s (%s)", u.Username, text)
	}
	return text
}

// OpenFile is os.OpenFile for a private file: it does not follow a symbolic
// link, and refuses everything but a regular file that belongs to this user. A
// new file has mode 0600. An existing file is truncated only after that was
// checked, and not when it has another name too.
func OpenFile(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, &RefusedError{path, "is a symbolic link, which penstock does not follow", "remove it"}
	}
	if err != nil {
		return nil, err
	}
	if err := checkFile(path, f, flag); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if flag&os.O_TRUNC != 0 {
		if err := f.Truncate(0); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

func checkFile(path string, f *os.File, flag int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &RefusedError{path, "is not a regular file", "move it away"}
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 && flag&os.O_TRUNC != 0 {
		return &RefusedError{path, "has another name too: it is a hard link", "move it away, or copy it to a file of its own"}
	}
	return checkOwner(path, info, os.Geteuid())
}
