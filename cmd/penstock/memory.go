package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// How the heap is collected. GOGC or GOMEMLIMIT in the environment override it.
const (
	// commandGC trades a few hundredths of a microsecond of CPU per event for a
	// quarter of the memory: most of the heap is buffers, which cost nothing to
	// mark.
	commandGC = 30
	// commandLimit bounds the heap of a command whose garbage is made faster than a
	// busy machine marks it.
	commandLimit = 64 << 20
	// hostGC lets the heap of a host reach its limit with whatever it has to do:
	// how much memory it takes does not depend on how much passes through it.
	hostGC = 800
	// hostBase is the memory that a host needs in addition to its budget.
	hostBase = 44 << 20
	// watchEvery is how often it is looked whether the limit leaves room.
	watchEvery = time.Second
)

// least is the limit of this process, in bytes, unless its live heap needs more.
var least atomic.Int64

// limitCommand limits the heap of a process that does little. It is called once,
// and keeps the limit as long as the process runs.
func limitCommand() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(commandGC)
	limit(commandLimit)
	go func() {
		for range time.Tick(watchEvery) {
			debug.SetMemoryLimit(limitFor(least.Load(), live()))
		}
	}()
}

// limitHost limits the heap of a process that serves instead, with a budget for
// open days, in bytes. The limit follows from the configuration.
func limitHost(budget int64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(hostGC)
	limit(hostBase + budget*3/2)
}

// limit sets the limit. It is raised when the live heap leaves too little room below
// it: a limit that cannot be kept would make the process do nothing but collect
// garbage.
func limit(n int64) {
	least.Store(n)
	debug.SetMemoryLimit(n)
}

// limitFor leaves room for a quarter of the live heap, and for memory that is not
// heap.
func limitFor(least, live int64) int64 { return max(least, live+live/4+8<<20) }

// live returns the size of the heap after the last collection, in bytes.
func live() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}
