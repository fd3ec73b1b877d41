package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How the heap is collected. GOGC or GOMEMLIMIT in the environment override it.
const (
	// commandGC trades a few hundredths of a microsecond of CPU per event for a
	// quarter of the memory: most of the heap is buffers, which cost nothing to
	// mark.
	commandGC = 30
	// hostGC lets the heap of a host reach its limit with whatever it has to do:
	// how much memory it takes does not depend on how much passes through it.
	hostGC = 800
	// hostBase is the memory that a host needs in addition to its budget.
	hostBase = 44 << 20
	// hostWatch is how often it is looked whether the limit leaves room.
	hostWatch = time.Second
)

// limitCommand is for a process that does little.
func limitCommand() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(commandGC)
	}
}

// limitHost limits the heap of a process that serves, with a budget for open
// days. The limit follows from the configuration. It is raised when the live heap
// leaves too little room below it: a limit that cannot be kept would make the
// process do nothing but collect garbage. The caller calls stop.
func limitHost(budget int64) (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	least := hostBase + budget*3/2
	debug.SetMemoryLimit(least)
	debug.SetGCPercent(hostGC)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(hostWatch)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				debug.SetMemoryLimit(limitFor(least, live()))
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
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
