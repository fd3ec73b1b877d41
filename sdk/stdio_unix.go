//go:build unix

package sdk

import (
	"os"

	"golang.org/x/sys/unix"
)

// divertStdout points file descriptor 1 at standard error. The handshake line
// goes to a copy of the original standard output, which children do not
// inherit.
func divertStdout() (*stdio, error) {
	real, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup2(2, 1); err != nil {
		return nil, err
	}
	s := &stdio{out: os.Stdout, err: os.Stderr, handshake: os.NewFile(uintptr(real), "handshake")}
	os.Stdout = s.handshake
	return s, nil
}
