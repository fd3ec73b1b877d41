package sdk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hideMemory keeps other processes of this user, plugins among them, from reading
// this process's memory and environment, which hold the destination's credentials
// (/proc/PID/mem, /proc/PID/environ, ptrace), and the kernel from writing core
// dumps of it. Programs that the plugin executes are not affected.
// root may still read everything.
//
// With GOTRACEBACK=crash, which asks for core dumps, it does nothing.
func hideMemory() error {
	if os.Getenv("GOTRACEBACK") == "crash" {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide memory from other processes: %w", err)
	}
	return nil
}
