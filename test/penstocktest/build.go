package penstocktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Binaries is the directory of the binaries that sites run: penstock, and
// plugins below "plugins".
var Binaries string

// Main builds the binaries, runs a package's tests and removes the binaries.
// plugins are the packages of destinations by type, relative to the root of the
// checkout.
func Main(m *testing.M, plugins map[string]string) int {
	dir, err := os.MkdirTemp("", "penstocktest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir, plugins); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	Binaries = dir
	return m.Run()
}

// build puts host and plugins into dir, with the crash points compiled in, and
// pins the plugins.
func build(dir string, plugins map[string]string) error {
	pluginDir := filepath.Join(dir, "plugins")
	if err := os.MkdirAll(pluginDir, 0o700); err != nil {
		return err
	}
	outputs := map[string]string{"penstock": "./cmd/penstock"}
	for name, pkg := range plugins {
		outputs["plugins/penstock-destination-"+name] = pkg
	}
	for output, pkg := range outputs {
		command := exec.Command("go", "build", "-tags", "crashpoints", "-ldflags", "-s -w", "-o", filepath.Join(dir, output), pkg)
		command.Dir = root()
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	command := exec.Command(filepath.Join(dir, "penstock"), "plugins", "trust", "--plugin-dir", pluginDir)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("trust plugins: %w\n%s", err, out)
	}
	return nil
}

// root is the root of the checkout.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
