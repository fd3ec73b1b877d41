//go:build crashpoints && unix

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	crash = parse(os.Getenv("PENSTOCK_CRASH_AT"))
	stop  = parse(os.Getenv("PENSTOCK_STOP_AT"))
)

type point struct {
	name string
	left atomic.Int64
}

func parse(s string) *point {
	name, count, found := strings.Cut(s, ":")
	p := &point{name: name}
	p.left.Store(1)
	if n, err := strconv.ParseInt(count, 10, 64); found && err == nil {
		p.left.Store(n)
	}
	return p
}

func (p *point) reached(name string) bool { return p.name == name && p.left.Add(-1) == 0 }

// Here kills or stops the process when the environment names this point.
func Here(name string) {
	if crash.reached(name) {
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {} // the signal is on its way
	}
	if stop.reached(name) {
		must(freeze())
	}
}

func must(err error) {
	if err != nil {
		panic("crashpoint: " + err.Error())
	}
}
