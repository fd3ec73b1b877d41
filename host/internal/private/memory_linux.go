package private

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// HideMemory keeps other processes of this user, plugins among them, from reading
// this process's memory and environment (/proc/PID/mem, /proc/PID/environ,
// ptrace), and the kernel from writing core dumps of it. Children that execute a
// program are not affected. root may still read everything.
//
// With GOTRACEBACK=crash, which asks for core dumps, it does nothing.
func HideMemory() error {
	if os.Getenv("GOTRACEBACK") == "crash" {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide memory from other processes: %w", err)
	}
	return nil
}

// EraseEnvironment overwrites the strings of the environment that the kernel gave
// this process: /proc/PID/environ, which ps shows and tools of root collect, then
// holds zero bytes. os.Getenv, os.Environ and the environment of children stay as
// they are, because the runtime copied the strings before main began. These
// copies remain in memory. It must come before HideMemory, which closes the
// process's memory to the process's own user.
//
// Without /proc, or where the system does not let a process write its memory by
// it, the strings stay. With GOTRACEBACK=crash it does nothing.
func EraseEnvironment() error {
	if os.Getenv("GOTRACEBACK") == "crash" {
		return nil
	}
	err := eraseEnvironment()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

func eraseEnvironment() (err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return fmt.Errorf("erase the environment: %w", err)
	}
	from, to, err := environmentRange(stat)
	if err != nil || from == to {
		return err
	}
	// The kernel writes the bytes: the runtime does not know the addresses.
	memory, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("erase the environment: %w", err)
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	if _, err := memory.WriteAt(make([]byte, to-from), from); err != nil {
		return fmt.Errorf("erase the environment: %w", err)
	}
	return nil
}

// Fields of /proc/PID/stat, counted from the first one after the command's name.
const (
	envStartField = 47
	envEndField   = 48
)

// maxEnvironment is more than the kernel gives a process.
const maxEnvironment = 64 << 20

// environmentRange returns the addresses of the environment's strings, from the
// text of /proc/PID/stat; 0, 0 if the kernel does not tell them.
func environmentRange(stat []byte) (from, to int64, err error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // a name may hold brackets and blanks
	if len(fields) <= envEndField {
		return 0, 0, nil
	}
	from, fromErr := strconv.ParseInt(string(fields[envStartField]), 10, 64)
	to, toErr := strconv.ParseInt(string(fields[envEndField]), 10, 64)
	if err := errors.Join(fromErr, toErr); err != nil {
		return 0, 0, fmt.Errorf("erase the environment: /proc/self/stat: %w", err)
	}
	if from < 0 || to < from || to-from > maxEnvironment {
		return 0, 0, fmt.Errorf("erase the environment: /proc/self/stat says that it lies from %d to %d", from, to)
	}
	return from, to, nil
}
