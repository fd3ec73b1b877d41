package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setProcAttr gives the process a group of its own, so that signals from a
// terminal or a container reach the host only and the group can be killed as a
// whole, and has the kernel kill it when the thread that starts it ends.
func setProcAttr(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// hasInput reports whether bytes wait in a pipe.
func hasInput(pipe *os.File) bool {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	err = raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		waits = err == nil && n > 0 && polled[0].Revents&unix.POLLIN != 0
	})
	return err == nil && waits
}

// setExecutable makes the command execute the file that is open, whatever its
// path names by then. A script's interpreter opens the file again, so that it
// inherits the descriptor.
func setExecutable(cmd *exec.Cmd, b *Binary) {
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", b.f.Fd())
	if isScript(b.f) {
		cmd.ExtraFiles = []*os.File{b.f}
		cmd.Path = "/proc/self/fd/3"
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		cmd.Path, cmd.ExtraFiles = b.Path, nil
	}
}

// identify returns the identity of an open file.
func identify(f *os.File) (is identity, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{
		device: stat.Dev, inode: stat.Ino, size: stat.Size, modified: info.ModTime(), changed: time.Unix(stat.Ctim.Unix()),
	}, true
}

// waitExit waits until the process has ended and leaves it as a zombie: the kernel
// does not reuse its id, or that of its group, until it is reaped.
func waitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// killUsers kills the processes that a private directory was made for: those with
// the directory in their environment, and the listeners on its sockets. A plugin
// made with the SDK hides its environment, and only its socket leads to it.
func killUsers(dir string) {
	killByEnv(socketDirEnv + "=" + dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type() != os.ModeSocket {
			continue
		}
		if pid := listener(filepath.Join(dir, e.Name())); pid != 0 && pid != os.Getpid() && hidesEnv(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// listener returns the id of the process of this user that listens on a unix
// socket, or 0. The process need not run to be found: the kernel answers.
func listener(socket string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return 0
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(peer.Uid) != os.Geteuid() {
		return 0
	}
	return int(peer.Pid)
}

// hidesEnv reports whether a process keeps its environment from this one. It keeps
// killUsers from a process that has the id of a listener that has ended: the
// processes that do not hide were compared by their environment already.
func hidesEnv(pid int) bool {
	_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return errors.Is(err, os.ErrPermission)
}

// killByEnv kills every process that has this entry in its environment.
func killByEnv(entry string) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return
	}
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !hasEntry(env, entry) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func hasEntry(environ []byte, entry string) bool {
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if string(kv) == entry {
			return true
		}
	}
	return false
}
