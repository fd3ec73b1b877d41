package plugin

import (
	"cmp"
	"time"
)

// Timeouts bound every call of a plugin. Zero is the default, which the comment of
// each field gives.
type Timeouts struct {
	Start     time.Duration // until the process answers its first health check; 30 s
	Describe  time.Duration // 30 s
	Configure time.Duration // 30 s
	Check     time.Duration // 60 s
	Status    time.Duration // 60 s
	Open      time.Duration // until an export is opened; 60 s
	Progress  time.Duration // for each message that is sent or, in a listing, received; 5 min: a slow upload holds back the next message
	Prepare   time.Duration // from Prepare to Prepared; 15 min
	Commit    time.Duration // from Commit to Committed; 30 min: a warehouse loads all rows of the run in it, or waits for a lock
	Erase     time.Duration // from the last id to the answer; 15 min

	// A plugin is frozen when two health checks in a row, one Heartbeat apart,
	// were not answered within HeartbeatTimeout: with the defaults it is killed
	// after 15 to 20 s. Two, because a machine that was suspended wakes with the
	// first deadline already over.
	Heartbeat        time.Duration // 5 s
	HeartbeatTimeout time.Duration // 5 s

	Drain time.Duration // from Drain to the first signal; 30 s
	Term  time.Duration // from SIGTERM to SIGKILL; 10 s: the SDK aborts open calls after 6 s, and closes
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Start:            cmp.Or(t.Start, 30*time.Second),
		Describe:         cmp.Or(t.Describe, 30*time.Second),
		Configure:        cmp.Or(t.Configure, 30*time.Second),
		Check:            cmp.Or(t.Check, time.Minute),
		Status:           cmp.Or(t.Status, time.Minute),
		Open:             cmp.Or(t.Open, time.Minute),
		Progress:         cmp.Or(t.Progress, 5*time.Minute),
		Prepare:          cmp.Or(t.Prepare, 15*time.Minute),
		Commit:           cmp.Or(t.Commit, 30*time.Minute),
		Erase:            cmp.Or(t.Erase, 15*time.Minute),
		Heartbeat:        cmp.Or(t.Heartbeat, 5*time.Second),
		HeartbeatTimeout: cmp.Or(t.HeartbeatTimeout, 5*time.Second),
		Drain:            cmp.Or(t.Drain, 30*time.Second),
		Term:             cmp.Or(t.Term, 10*time.Second),
	}
}

// Restart says how a plugin that ended is started again. Zero is the default.
type Restart struct {
	// The n-th crash within Window is followed by a pause of Initial·2^(n-1),
	// at most Max, counted from the crash: with the defaults 0.5 s, 1 s, 2 s, ….
	Initial time.Duration // 500 ms
	Max     time.Duration // 30 s
	// Budget is how many crashes within Window are followed by a start.
	Budget int           // 5
	Window time.Duration // 10 min
}

func (r Restart) withDefaults() Restart {
	return Restart{
		Initial: cmp.Or(r.Initial, 500*time.Millisecond),
		Max:     cmp.Or(r.Max, 30*time.Second),
		Budget:  cmp.Or(r.Budget, 5),
		Window:  cmp.Or(r.Window, 10*time.Minute),
	}
}

// pause is the pause after the n-th crash, n from 1.
func (r Restart) pause(n int) time.Duration {
	d := r.Initial
	for ; n > 1 && d < r.Max; n-- {
		d *= 2
	}
	return min(d, r.Max)
}
