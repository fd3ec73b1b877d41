//go:build unix

package sdk

import (
	"os"

	"golang.org/x/sys/unix"
)

// divertStdout points file descriptor 1 at standard error. The handshake line
// goes to what it was before, which stays open and out of reach of children:
// the host takes its end for the end of the plugin.
func divertStdout() (*stdio, error) {
	real, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup2(2, 1); err != nil {
		return nil, err
	}
	s := &stdio{out: os.NewFile(1, "/dev/stdout"), err: os.Stderr}
	os.Stdout = os.NewFile(uintptr(real), "handshake")
	return s, nil
}
