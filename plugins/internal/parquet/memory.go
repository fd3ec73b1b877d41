package parquet

import (
	"os"
	"runtime/debug"
	"sync"
)

// collectAt is the growth of the heap, in percent, at which garbage is collected in a
// process that writes files. The open row group stays in memory, some 40 MiB, so that
// Go's default of 100 would double that.
const collectAt = 60

// limitGarbage sets collectAt for the process, unless the environment has GOGC.
var limitGarbage = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
})
