package collector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// client is a request in whose life memory is taken as requests take it: for a body that
// arrives, into buffers that double, and for what is made of it.
type client struct {
	share share
	steps []func() int64 // each returns how many bytes the next takes; the last gives everything back
	waits *waiter        // nil: it does not wait
}

func newClient(b *budget, r *rand.Rand) *client {
	c := &client{share: share{budget: b}}
	if r.IntN(8) > 0 {
		c.share.arrives(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(3))}))
	}
	body := int64(1) << (10 + r.IntN(11))
	for size, before := min(firstRead, body), int64(0); ; before, size = size, 2*size {
		c.steps = append(c.steps, func() int64 { return size }, func() int64 {
			c.share.give(before)
			return 0
		})
		if size >= body {
			break
		}
	}
	c.steps = append(c.steps, func() int64 {
		c.share.arrived()
		return 0
	})
	for range 1 + r.IntN(3) { // decompressed, rendered, marked
		n := body/4 + r.Int64N(body)
		c.steps = append(c.steps, func() int64 { return n })
	}
	c.steps = append(c.steps, func() int64 {
		for c.share.held > 0 { // buffer by buffer
			c.share.give(min(c.share.held, body))
		}
		return 0
	})
	return c
}

// goOn takes the client's next step, and begins to wait where that takes memory.
func (c *client) goOn() {
	n := c.steps[0]()
	c.steps = c.steps[1:]
	if n == 0 {
		return
	}
	b := c.share.budget
	c.waits = &waiter{share: &c.share, n: n, granted: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, c.waits)
	b.serve()
}

// ready reports whether the client does not wait.
func (c *client) ready() bool {
	if c.waits == nil {
		return true
	}
	select {
	case <-c.waits.granted:
		c.waits = nil
		return true
	default:
		return false
	}
}

// Requests that each hold a part of the memory that they need, of many sizes and from few
// addresses, never wait for each other for ever.
func TestNoRequestsWaitForEachOther(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBudget(int64(1)<<(18+r.IntN(5)), time.Hour)
		clients := make([]*client, 2+r.IntN(30))
		for i := range clients {
			clients[i] = newClient(b, r)
		}
		for len(clients) > 0 {
			able := slices.Collect(func(yield func(*client) bool) {
				for _, c := range clients {
					if c.ready() && !yield(c) {
						return
					}
				}
			})
			if len(able) == 0 {
				t.Fatalf("seed %d: %d requests wait for each other: %s", seed, len(clients), describe(b))
			}
			able[r.IntN(len(able))].goOn()
			clients = slices.DeleteFunc(clients, func(c *client) bool { return len(c.steps) == 0 && c.ready() })
		}
		if b.large != (pool{}) || b.small != (pool{}) || len(b.arriving) != 0 || len(b.queue) != 0 {
			t.Fatalf("seed %d: something is left: %s", seed, describe(b))
		}
	}
}

func describe(b *budget) string {
	text := fmt.Sprintf("limit %d, large %d, small %d", b.limit, b.large.used, b.small.used)
	for _, w := range b.queue {
		a := b.arriving[w.share.from]
		text += fmt.Sprintf("\n%d wanted, %d held, arrived %v, first of the large %v, of the small %v, of its address %v",
			w.n, w.share.held, !w.share.from.IsValid(), b.large.over == w.share, b.small.over == w.share, a != nil && a.over == w.share)
	}
	return text
}
