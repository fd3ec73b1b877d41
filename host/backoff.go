package host

import (
	"math/rand/v2"
	"time"
)

// backoff gives the pauses between attempts at one thing. Each is twice as long
// as the one before, from first up to limit, and shortened at random by up to a
// half, so that several that failed together do not try together. It is not for
// concurrent use.
type backoff struct {
	first, limit time.Duration
	next         time.Duration // zero: first
}

// pause returns how long to wait before the next attempt.
func (b *backoff) pause() time.Duration {
	d := max(b.next, b.first)
	b.next = min(2*d, b.limit)
	return d - rand.N(d/2+1)
}

// reset begins again with the shortest pause, after an attempt that succeeded.
func (b *backoff) reset() { b.next = 0 }
