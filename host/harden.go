package host

import "github.com/penstock-io/penstock/host/internal/private"

// HideMemory keeps plugins, which run as the same user, from reading this
// process's memory and environment, and the kernel from writing core dumps of
// it (Linux). A command calls it before it reads a configuration. It does nothing
// with GOTRACEBACK=crash, which asks for core dumps.
func HideMemory() error { return private.HideMemory() }
