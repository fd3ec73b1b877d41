package plugin

import (
	"slices"
	"time"
)

// budget counts crashes and failed starts, and says when the next start is due. It is not for
// concurrent use.
type budget struct {
	rules   Restart
	crashes []time.Time // within the window, oldest first
	last    error
}

func (b *budget) crashed(now time.Time, err error) {
	b.expire(now)
	b.crashes = append(b.crashes, now)
	b.last = err
}

func (b *budget) expire(now time.Time) {
	b.crashes = slices.DeleteFunc(b.crashes, func(t time.Time) bool { return now.Sub(t) >= b.rules.Window })
}

// wait returns the pause before the next start. If the budget is spent there is no
// start before until.
func (b *budget) wait(now time.Time) (pause time.Duration, spent bool, until time.Time) {
	b.expire(now)
	n := len(b.crashes)
	if n == 0 {
		return 0, false, now
	}
	if n > b.rules.Budget {
		return 0, true, b.crashes[n-b.rules.Budget-1].Add(b.rules.Window)
	}
	return max(0, b.rules.pause(n)-now.Sub(b.crashes[n-1])), false, now
}
