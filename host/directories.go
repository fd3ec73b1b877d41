package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
)

// checkDirectories reports directories of a host that it could not use: data_dir,
// and blobs if that lies elsewhere. It makes none of them.
func checkDirectories(c *Config) diagnostic.Diagnostics {
	var found diagnostic.Diagnostics
	check := func(attribute, dir string) {
		if dir == "" {
			return // its value was reported
		}
		if reason := unusable(dir); reason != "" {
			at := c.Host.AttributeRange(attribute)
			found = append(found, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Directory cannot be used", Subject: &at,
				Detail: fmt.Sprintf("%s is %s: %s. The host keeps its journal there: name a directory that it may write. One that is missing is made.",
					attribute, dir, reason),
			})
		}
	}
	check("data_dir", c.Host.DataDir)
	if !within(c.Host.Blobs, c.Host.DataDir) {
		check("blobs", c.Host.Blobs)
	}
	return found
}

// unusable says why a host could not keep files in a directory that is there or
// that it would make; "" if it could.
func unusable(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(dir)
		if parent == dir {
			return "it does not exist"
		}
		if reason := unusable(parent); reason != "" {
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
