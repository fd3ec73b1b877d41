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

// parentInterval is how long a plugin may outlive its host. Where the host can
// have the kernel kill its children (Linux) it does so as well.
const parentInterval = 500 * time.Millisecond

// exitOrphaned is the exit status of a plugin whose host has died.
const exitOrphaned = 3

// watchParent ends the process when its parent has ended, or the process that
// the host has named: between the two may be a wrapper. Nothing is drained:
// there is nobody left to commit.
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
	signal.Ignore(syscall.SIGPIPE) // nobody may be reading the log any more
	log.Error("the host has ended, and so does its plugin", "host", host)
	os.Exit(exitOrphaned)
}

// alive says whether a process exists, whoever owns it.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
