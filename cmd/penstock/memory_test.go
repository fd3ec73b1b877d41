package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestTheLimitLeavesRoom(t *testing.T) {
	t.Parallel()
	const least = 140 << 20
	for live, want := range map[int64]int64{0: least, 100 << 20: least, 105 << 20: least, 200 << 20: 258 << 20, 1 << 30: 1288 << 20} {
		if got := limitFor(least, live); got != want {
			t.Errorf("%d MiB live: a limit of %d MiB, want %d", live>>20, got>>20, want>>20)
		}
	}
}

func TestTheLimitFollowsFromTheBudget(t *testing.T) {
	t.Cleanup(func() {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	limitHost(64 << 20)
	if got := debug.SetMemoryLimit(-1); got != 140<<20 {
		t.Errorf("the limit is %d MiB, want 140", got>>20)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	limitHost(1 << 30)
	if got := debug.SetMemoryLimit(-1); got != 140<<20 {
		t.Errorf("the environment does not override: %d MiB", got>>20)
	}
}
