package plugin

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// loaderFailed is the status of a process whose dynamic loader found no library.
const loaderFailed = "exit status 127"

// diagnose returns notes for the user on a binary that did not become a plugin:
// "the file is empty", "it is a script for python3, which has to be installed". status
// is how its process ended; empty if the system did not execute it.
func diagnose(f *os.File, status string) []string {
	var notes []string
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	if info.Size() == 0 {
		return []string{"the file is empty"}
	}
	if info.Mode().Perm()&0o111 == 0 {
		notes = append(notes, fmt.Sprintf("the file is not executable (mode %04o): run chmod +x", info.Mode().Perm()))
	}
	if n := describeFormat(f, status); n != "" {
		notes = append(notes, n)
	}
	return notes
}

// describeFormat compares the file's system and architecture with ours.
func describeFormat(f *os.File, status string) string {
	here := runtime.GOOS + "/" + runtime.GOARCH
	if isScript(f) {
		return describeScript(f)
	}
	if e, err := elf.NewFile(f); err == nil {
		if arch := elfArch(e); arch != runtime.GOARCH || runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
			return fmt.Sprintf("it is an ELF binary for %s, this host runs on %s", arch, here)
		}
		if e.Section(".interp") != nil && (status == "" || status == loaderFailed) {
			return "it is dynamically linked: the libraries it needs may be missing, or of another libc"
		}
		return ""
	}
	if m, err := macho.NewFile(f); err == nil {
		if runtime.GOOS != "darwin" {
			return fmt.Sprintf("it is a macOS binary (%s), this host runs on %s", m.Cpu, here)
		}
		return ""
	}
	if _, err := pe.NewFile(f); err == nil {
		return "it is a Windows binary, this host runs on " + here
	}
	if isELF(f) {
		return "it is a damaged or incomplete ELF binary: copy it again, and compare its checksum with that of the original"
	}
	return "it is neither an executable nor a script with #! in its first line"
}

// describeScript returns a note on a script whose interpreter is not installed.
func describeScript(f io.ReaderAt) string {
	line := make([]byte, 128)
	n, _ := f.ReadAt(line, 0)
	first, _, _ := strings.Cut(string(line[:n]), "\n")
	command := strings.TrimSpace(strings.TrimPrefix(first, "#!"))
	interpreter, _, _ := strings.Cut(command, " ")
	if _, err := os.Stat(interpreter); err == nil {
		return ""
	}
	return fmt.Sprintf("it is a script for %s, which has to be installed", command)
}

func elfArch(e *elf.File) string {
	names := map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
		elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64", elf.EM_PPC64: "ppc64",
	}
	if e.Machine == elf.EM_PPC64 && e.ByteOrder.String() == "LittleEndian" {
		return "ppc64le"
	}
	if name, ok := names[e.Machine]; ok {
		return name
	}
	return e.Machine.String()
}

func isScript(f io.ReaderAt) bool {
	return beginsWith(f, "#!")
}

func isELF(f io.ReaderAt) bool { return beginsWith(f, elf.ELFMAG) }

func beginsWith(f io.ReaderAt, magic string) bool {
	head := make([]byte, len(magic))
	n, _ := f.ReadAt(head, 0)
	return string(head[:n]) == magic
}

// isInexecutable reports whether the system refuses a file itself, and not only this
// attempt to execute it.
func isInexecutable(err error) bool {
	return errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOENT)
}

// execReason puts the system's refusal to execute a file into words.
func execReason(err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return "the system cannot execute the file"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "the system refuses to execute the file (no permission, or its file system is mounted noexec)"
	case errors.Is(err, syscall.ENOENT):
		return "the interpreter or loader that the file asks for does not exist"
	}
	return err.Error()
}
