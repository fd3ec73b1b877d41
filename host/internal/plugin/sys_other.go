//go:build unix && !linux

package plugin

import (
	"os"
	"os/exec"
	"syscall"
)

// setProcAttr gives the process a group of its own. That it ends with the host
// is left to the SDK's parent watch.
func setProcAttr(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// hasInput reports whether bytes wait in a pipe; here it is not known.
func hasInput(*os.File) bool { return false }

// setExecutable executes the path: between hashing and executing the file can
// be exchanged by root and by this user, who may write the plugin directory.
func setExecutable(cmd *exec.Cmd, b *Binary) { cmd.Path = b.Path }

// identify tells nothing here: the path is executed, not the file that was read,
// and it is read each time.
func identify(*os.File) (identity, bool) { return identity{}, false }

// waitExit cannot wait without reaping here.
func waitExit(int) error { return nil }

// killUsers finds no processes on this system.
func killUsers(string) {}
