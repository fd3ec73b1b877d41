package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is what a process and the processes it started and waited for took.
type usage struct {
	wall time.Duration
	cpu  time.Duration
	// peak is the largest resident memory of each program seen, in bytes.
	peak map[string]int64
}

// measure runs a command to its end. Memory is read from the kernel's own
// high-water mark, some times a second; what a process took after its last
// reading is not seen.
func measure(ctx context.Context, dir string, env []string, name string, args ...string) (usage, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	u := usage{peak: map[string]int64{}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				notePeaks(u.peak, cmd.Process.Pid)
			}
		}
	}()
	err := cmd.Wait()
	u.wall = time.Since(start)
	close(stop)
	<-stopped
	if err != nil {
		return u, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out.Bytes())
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, nil
}

// notePeaks reads the high-water marks of a process and its children.
func notePeaks(peak map[string]int64, pid int) {
	for _, p := range append(children(pid), pid) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p))
		if err != nil {
			continue
		}
		name := filepath.Base(exe)
		peak[name] = max(peak[name], highWater(p))
	}
}

func children(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var pids []int
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(b)) {
			if p, err := strconv.Atoi(field); err == nil {
				pids = append(pids, p)
			}
		}
	}
	return pids
}

// highWater is VmHWM in bytes; 0 when the process is gone.
func highWater(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// peakOf is the largest peak of the programs that match.
func (u usage) peakOf(match func(program string) bool) int64 {
	var largest int64
	for _, program := range slices.Sorted(maps.Keys(u.peak)) {
		if match(program) {
			largest = max(largest, u.peak[program])
		}
	}
	return largest
}

func (u usage) host() int64 { return u.peakOf(func(p string) bool { return p == "penstock" }) }

func (u usage) plugin() int64 {
	return u.peakOf(func(p string) bool { return strings.HasPrefix(p, "penstock-destination-") })
}
