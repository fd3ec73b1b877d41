package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// othersWrite are the bits that let users other than the owner write.
const othersWrite fs.FileMode = 0o022

// checkDir refuses a plugin directory that others may write, and one that
// stands in a directory where anybody may replace it. It follows symbolic
// links first and returns the directory they lead to.
func checkDir(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("open plugin directory: %w", err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return "", fmt.Errorf("open plugin directory: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("open plugin directory: %w", err)
	}
	if !info.IsDir() {
		return "", &RefusedError{Path: real, State: Pinned, Reason: "is not a directory", Remedy: "set plugin_dir to the directory that holds the plugins"}
	}
	if err := checkInfo(real, info); err != nil {
		return "", err
	}
	return real, checkParents(real)
}

// openError returns the error of a file or directory that cannot be opened: a
// *RefusedError if the host's user may not read it.
func openError(event, path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &RefusedError{
			Path: path, State: Pinned, Reason: fmt.Sprintf("cannot be read by the user penstock runs as (%d)", os.Geteuid()),
			Remedy: fmt.Sprintf("run: chmod a+rX %s", path),
		}
	}
	return fmt.Errorf("%s: %w", event, err)
}

// checkParents looks for a directory above that everybody may write and that
// is not sticky. A group's right to write above is left to the administrator:
// checkouts under umask 002 have it everywhere.
func checkParents(dir string) error {
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return fmt.Errorf("open plugin directory: %w", err)
		}
		if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return &RefusedError{
				Path: parent, State: Pinned, Reason: "holds the plugin directory and may be written by everybody",
				Remedy: fmt.Sprintf("run: chmod o-w %s", parent),
			}
		}
	}
	return nil
}

// checkFile refuses an open file that others may write.
func checkFile(path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return &RefusedError{Path: path, State: Pinned, Reason: "is not a regular file", Remedy: "put the plugin's binary there"}
	}
	return checkInfo(path, info)
}

func checkInfo(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&othersWrite != 0 {
		return &RefusedError{
			Path: path, State: Pinned, Reason: fmt.Sprintf("may be written by others than its owner (mode %04o)", mode),
			Remedy: fmt.Sprintf("run: chmod go-w %s", path),
		}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if us := os.Geteuid(); st.Uid != 0 && int(st.Uid) != us {
		return &RefusedError{
			Path: path, State: Pinned, Reason: fmt.Sprintf("belongs to user %d, who is neither root nor the user penstock runs as (%d)", st.Uid, us),
			Remedy: fmt.Sprintf("run: chown root %s", path),
		}
	}
	return nil
}
