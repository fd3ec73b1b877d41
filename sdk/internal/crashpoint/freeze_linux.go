//go:build crashpoints

package crashpoint

import (
	"runtime"
	"syscall"
)

// freeze stops the process. The signal goes to this very thread, which therefore does
// not return to what comes next; one to the process may be taken by another thread,
// later.
func freeze() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return syscall.Tgkill(syscall.Getpid(), syscall.Gettid(), syscall.SIGSTOP)
}
