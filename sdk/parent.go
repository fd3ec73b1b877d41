package sdk

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// parentInterval is the time between two checks of the host's process, and so
// the longest time that a plugin outlives its host. On Linux the kernel also
// kills the host's children when the host dies.
const parentInterval = 500 * time.Millisecond

// exitOrphaned is the exit status of a plugin whose host has died.
const exitOrphaned = 3

// watchParent ends the process when its parent process or the host has ended.
// The two differ if a wrapper starts the plugin. Open exports are not drained,
// since no host is left to commit them.
func watchParent(log hclog.Logger) {
	parent := os.Getppid()
	host, err := strconv.Atoi(os.Getenv(protocol.EnvParent))
	if err != nil {
		host = parent
	}
	ticker := time.NewTicker(parentInterval)
	defer ticker.Stop()
	for os.Getppid() == parent && alive(host) {
		<-ticker.C
	}
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may have ended
	log.Error("the host has ended, and so does its plugin", "host", host)
	os.Exit(exitOrphaned)
}

// alive reports whether a process exists, also if another user owns it.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
