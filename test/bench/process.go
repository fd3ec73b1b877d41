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
	"syscall"
	"time"
)

// usage is the time and memory of a process and of the processes that it started
// and waited for.
type usage struct {
	wall time.Duration
	cpu  time.Duration
	// peak is the largest resident memory of each program seen, in bytes.
	peak map[string]int64
	// times are the processor times of the processes below the first, by process.
	times  map[int]programTime
	out    string        // its output
	stored int64         // bytes of the objects that it wrote; 0: not counted
	level  int64         // bytes of the same rows at level 1; 0: not counted
	server time.Duration // processor time of the server that it pulled from; 0: none
}

// programTime is the processor time of a process at its last reading.
type programTime struct {
	program string
	cpu     time.Duration
}

// perEvent is the time of one of so many events.
func (u usage) perEvent(events int) perEvent {
	return perEvent{u.cpu.Seconds() * 1e6 / float64(events), u.wall.Seconds() * 1e6 / float64(events)}
}

// process is a command that runs.
type process struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	begun   time.Time
	peak    map[string]int64
	times   map[int]programTime
	stop    chan struct{}
	stopped chan struct{}
}

// start starts a command. Memory is read from the kernel's own high-water mark
// at intervals of every; growth after the last reading of a process is not
// seen.
func start(ctx context.Context, every time.Duration, dir string, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...), begun: time.Now(), peak: map[string]int64{}, times: map[int]programTime{}, stop: make(chan struct{}), stopped: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.note(p.cmd.Process.Pid)
			}
		}
	}()
	return p, nil
}

// wait waits for the process to end.
func (p *process) wait() (usage, error) {
	err := p.cmd.Wait()
	u := usage{wall: time.Since(p.begun), peak: p.peak, times: p.times, out: p.out.String()}
	close(p.stop)
	<-p.stopped
	if err != nil {
		return u, fmt.Errorf("%s %s: %w\n%s", filepath.Base(p.cmd.Path), strings.Join(p.cmd.Args[1:], " "), err, u.out)
	}
	u.cpu = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	return u, nil
}

// end asks the process to end, and waits for it.
func (p *process) end() (usage, error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // wait returns how it ended
	return p.wait()
}

// measure runs a command to its end.
func measure(ctx context.Context, dir string, env []string, name string, args ...string) (usage, error) {
	p, err := start(ctx, 10*time.Millisecond, dir, env, name, args...)
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// note reads the high-water marks and the times of a process and its children.
func (p *process) note(pid int) { notePeaks(p.peak, p.times, pid) }

func notePeaks(peak map[string]int64, times map[int]programTime, pid int) {
	for _, p := range append(children(pid), pid) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p))
		if err != nil {
			continue
		}
		name := filepath.Base(exe)
		peak[name] = max(peak[name], highWater(p))
		times[p] = programTime{name, max(times[p].cpu, cpuTime(p))}
	}
}

// clockTick is the unit of times in /proc: Linux counts hundredths of a second.
const clockTick = 10 * time.Millisecond

// cpuTime is the user and system time of a process so far.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the program's name may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

// pluginCPU is the processor time of plugins, up to the last reading.
func (u usage) pluginCPU() time.Duration {
	var sum time.Duration
	for _, t := range u.times {
		if strings.HasPrefix(t.program, "penstock-destination-") {
			sum += t.cpu
		}
	}
	return sum
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

// highWater is the largest resident memory of a process in bytes; 0 when it is gone.
func highWater(pid int) int64 { return memory(pid, "VmHWM:") }

// resident is the resident memory of a process in bytes; 0 when it is gone.
func resident(pid int) int64 { return memory(pid, "VmRSS:") }

// memory is a line of the kernel's status of a process, in bytes.
func memory(pid int, line string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for text := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(text, line); ok {
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
