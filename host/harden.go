package host

import (
	"errors"

	"github.com/penstock-io/penstock/host/internal/private"
)

// HideMemory keeps plugins, which run as the same user, from reading this
// process's memory and environment, and the kernel from writing core dumps of
// it (Linux). The environment is erased from the place where root's tools see it; the
// process keeps its variables. A command calls HideMemory before it reads a
// configuration. It does nothing with GOTRACEBACK=crash, which asks for core dumps.
func HideMemory() error { return errors.Join(private.EraseEnvironment(), private.HideMemory()) }
