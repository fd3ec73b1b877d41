//go:build crashpoints && unix && !linux

package crashpoint

import (
	"syscall"
	"time"
)

// freeze stops the process. Another thread may take the signal: this one waits for it.
func freeze() error {
	err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
	time.Sleep(time.Second)
	return err
}
