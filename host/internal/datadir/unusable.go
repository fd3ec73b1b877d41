package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Unusable returns the reason why a host could not keep files in a directory that
// is there or that it would make; "" if it could.
func Unusable(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(dir)
		if parent == dir {
			return "it does not exist"
		}
		if reason := Unusable(parent); reason != "" {
			return fmt.Sprintf("it does not exist and cannot be made, because of %s: %s", parent, reason)
		}
		return ""
	case errors.Is(err, syscall.ENOTDIR):
		return "a part of its path is a file"
	case err != nil:
		return reasonOf(err)
	case !info.IsDir():
		return "it is a file"
	}
	// Whether it may be written and entered: see access(2).
	const writeAndEnter = 2 | 1
	if err := syscall.Access(dir, writeAndEnter); err != nil {
		return reasonOf(err)
	}
	return ""
}

// reasonOf is an error without the path and the operation, which the caller
// names.
func reasonOf(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
