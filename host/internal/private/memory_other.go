//go:build !linux

package private

// EraseEnvironment does nothing here.
func EraseEnvironment() error { return nil }

// HideMemory does nothing here.
func HideMemory() error { return nil }
