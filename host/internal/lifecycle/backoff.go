package lifecycle

import (
	"math/rand/v2"
	"time"
)

// Backoff gives the pauses between attempts at one thing. Each is twice as long
// as the one before, from First up to Limit, and shortened at random by up to a
// half, so that several that failed together do not try together. It is not for
// concurrent use.
type Backoff struct {
	First, Limit time.Duration
	Random       func(below time.Duration) time.Duration // nil: rand.N
	next         time.Duration                           // zero: First
}

// Pause returns how long to wait before the next attempt.
func (b *Backoff) Pause() time.Duration {
	d := max(b.next, b.First)
	b.next = min(2*d, b.Limit)
	random := b.Random
	if random == nil {
		random = rand.N[time.Duration]
	}
	return d - random(d/2+1)
}

// Reset begins again with the shortest pause, after an attempt that succeeded.
func (b *Backoff) Reset() { b.next = 0 }
