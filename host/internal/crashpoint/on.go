//go:build crashpoints && linux

package crashpoint

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	mu     sync.Mutex
	passed = map[string]int{}
)

// Here ends or stops the process when the environment names this place and
// passage.
func Here(name string) {
	mu.Lock()
	defer mu.Unlock()
	passed[name]++
	if named("PENSTOCK_CRASH_AT", name) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if named("PENSTOCK_STOP_AT", name) {
		// To this very thread: it does not return to what comes next, as it might
		// while another one takes the signal.
		runtime.LockOSThread()
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
		runtime.UnlockOSThread()
	}
}

func named(variable, name string) bool {
	place, number, counted := strings.Cut(os.Getenv(variable), ":")
	if place != name {
		return false
	}
	if !counted {
		return passed[name] == 1
	}
	n, err := strconv.Atoi(number)
	return err == nil && passed[name] == n
}
