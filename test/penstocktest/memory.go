package penstocktest

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// watchMemory looks at a process until end is called, which returns the most memory
// that it had in use, in bytes; 0 for a process that ended at once. The kernel's
// figure for a process that has ended does not serve: it counts the memory of the
// process that started it, too.
func watchMemory(pid int) (end func() int64) {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		most := int64(0)
		for {
			select {
			case <-tick.C:
				most = max(most, inUse(pid))
			case <-done:
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-peak
	}
}

// inUse returns the most memory that a process had in use up to now, in bytes; 0 if
// it has ended.
func inUse(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(text, &kib); err != nil {
		return 0
	}
	return kib << 10
}
