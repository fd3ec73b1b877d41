package collector

import (
	"context"
	"errors"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// errBusy says that requests in flight hold all of the budget.
var errBusy = errors.New("too much is in flight")

// budget bounds the bytes that requests in flight hold together, and keeps
// buffers that were given back.
//
//   - Large requests leave a reserve to small ones: bodies of megabytes that do
//     not end keep no ordinary request waiting.
//   - Bodies that are still arriving from one address hold a quarter of the budget
//     and one body at most, whatever the number of its connections.
//   - Requests get memory in the order in which they came, large and small ones
//     each among themselves.
//   - One large request, one small one and one of each address may go beyond their
//     bound, so that requests that each hold a part of the memory they need do not
//     wait for each other for ever. A request whose body arrives goes beyond the bound of
//     its size only if it is also the one of its address: otherwise it could wait for that
//     one, which waits for it. So limit, the largest request, a small one and a quarter of
//     limit for idle buffers are the bound of all.
//   - Idle buffers have that quarter and the room of requests that are not there: large
//     bodies come one after another, and new memory for each costs more than reading it.
//     When no request is left they have the quarter.
type budget struct {
	limit   int64
	reserve int64         // the part of limit that large requests leave to small ones
	wait    time.Duration // how long a request waits for room

	mu       sync.Mutex
	large    pool
	small    pool
	arriving map[netip.Prefix]*pool // of bodies that are still arriving, by address
	queue    []*waiter              // in the order in which they came
	idle     [][]byte               // buffers to be used again, the one that was released last at the end
	kept     int64                  // bytes of idle
}

// pool counts the bytes that some requests hold together.
type pool struct {
	used int64
	over *share // that may go beyond the bound; nil: none does
}

// waiter waits for n bytes.
type waiter struct {
	share   *share
	n       int64
	granted chan struct{}
}

// smallRequest is the most bytes that a small request holds.
const smallRequest = 256 << 10

func newBudget(limit int64, wait time.Duration) *budget {
	return &budget{limit: limit, reserve: limit / 4, wait: wait, arriving: map[netip.Prefix]*pool{}}
}

// share counts the bytes that one request holds.
type share struct {
	budget  *budget
	held    int64
	isLarge bool // it has held more than smallRequest
	// from is the address that the body is arriving from. It is not valid when
	// the body has arrived, or when the address is unknown.
	from netip.Prefix
}

// addressBits are how many bits of an address tell clients apart: one network
// has as many addresses of IPv6 as it likes.
func addressBits(a netip.Addr) int {
	if a.Is4() {
		return 32
	}
	return 64
}

// arrives sets the address that the request's body is arriving from.
func (s *share) arrives(from netip.Addr) {
	if !from.IsValid() {
		return
	}
	s.from, _ = from.Prefix(addressBits(from))
}

// arrived records that the body is complete: from now on the request waits for
// the server alone.
func (s *share) arrived() {
	if !s.from.IsValid() {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(s, s.held, true)
	s.from = netip.Prefix{}
	b.serve()
}

// take takes n bytes more, and waits for them after earlier requests. errBusy, or
// the cause of ctx's end.
func (s *share) take(ctx context.Context, n int64) error {
	b := s.budget
	w := &waiter{share: s, n: n, granted: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, w)
	b.serve()
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	default:
	}
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	err := errBusy
	select {
	case <-w.granted:
		return nil
	case <-timer.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, w)
	if i < 0 {
		return nil // it was granted just now
	}
	b.queue = slices.Delete(b.queue, i, i+1)
	b.serve()
	return err
}

// serve grants bytes to waiting requests, the longest waiting first. A request that
// waits because of its address keeps no others waiting.
func (b *budget) serve() {
	var full [2]bool // a small request waits, a large one does
	b.queue = slices.DeleteFunc(b.queue, func(w *waiter) bool {
		s := w.share
		size := 0
		if s.isLarge || s.held+w.n > smallRequest {
			size = 1
		}
		p := b.poolOf(size == 1)
		if !b.addressHasRoom(s, w.n) || full[size] && p.over != s {
			return false
		}
		switch {
		case !b.exceeds(s, w.n, size == 1):
		case p.over != nil:
			full[size] = true
			return false
		case !b.leadsItsAddress(s):
			return false
		default:
			p.over = s
		}
		b.grant(s, w.n, size == 1)
		close(w.granted)
		return true
	})
}

func (b *budget) poolOf(isLarge bool) *pool {
	if isLarge {
		return &b.large
	}
	return &b.small
}

// room is how many bytes requests of a size may hold together.
func (b *budget) room(isLarge bool) int64 {
	if isLarge {
		return b.limit - max(b.reserve, b.small.used)
	}
	return max(b.reserve, b.limit-b.large.used)
}

// exceeds reports whether n bytes more for s go beyond the bound of a size. They do not for the
// request that may.
func (b *budget) exceeds(s *share, n int64, isLarge bool) bool {
	p := b.poolOf(isLarge)
	if isLarge && !s.isLarge {
		n += s.held
	}
	return p.over != s && p.used+n > b.room(isLarge)
}

// leadsItsAddress reports whether s may go beyond the bound of its address, or has none.
func (b *budget) leadsItsAddress(s *share) bool {
	a := b.arriving[s.from]
	return !s.from.IsValid() || a == nil || a.over == nil || a.over == s
}

// grant gives n bytes to s. A small request that becomes large moves its bytes to the
// large ones.
func (b *budget) grant(s *share, n int64, isLarge bool) {
	p, moved := b.poolOf(isLarge), int64(0)
	if isLarge && !s.isLarge {
		moved = s.held
	}
	if moved > 0 {
		b.small.used -= moved
		if b.small.over == s {
			b.small.over = nil
		}
	}
	s.isLarge = isLarge
	p.used += moved + n
	s.held += n
	if s.from.IsValid() {
		a := b.arriving[s.from]
		if a == nil {
			a = &pool{}
			b.arriving[s.from] = a
		}
		if a.over == nil && (p.over == s || !a.fits(n, b.limit/4)) {
			a.over = s
		}
		a.used += n
	}
}

// addressHasRoom reports whether the bodies that arrive from the address of s
// may hold n bytes more.
func (b *budget) addressHasRoom(s *share, n int64) bool {
	return b.leadsItsAddress(s) || b.arriving[s.from].fits(n, b.limit/4)
}

// fits reports whether an address that may hold room bytes, and one body that
// may be larger, may hold n bytes more.
func (p *pool) fits(n, room int64) bool {
	others := p.used
	if p.over != nil {
		others -= p.over.held
	}
	return others+n <= room
}

// give takes n bytes of s off a pool; room is its bound.
func (p *pool) give(s *share, n, room int64) {
	p.used -= n
	if p.used <= room || p.over == s && s.held == 0 {
		p.over = nil
	}
}

// leave takes n bytes of s off the count of its address; last means that s holds
// no more of it.
func (b *budget) leave(s *share, n int64, last bool) {
	a := b.arriving[s.from]
	if a == nil {
		return
	}
	a.used -= n
	if a.over == s && last {
		a.over = nil
	}
	if a.used == 0 {
		delete(b.arriving, s.from)
	}
}

// giveBack gives n bytes of a share back. The caller holds mu.
func (b *budget) giveBack(s *share, n int64) {
	s.held -= n
	if s.from.IsValid() {
		b.leave(s, n, s.held == 0)
	}
	b.poolOf(s.isLarge).give(s, n, b.room(s.isLarge))
	if s.held == 0 {
		s.isLarge = false
	}
	b.serve()
}

// give gives back n bytes that take has taken.
func (s *share) give(n int64) {
	if n == 0 {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.budget.giveBack(s, n)
}

// buffer takes a buffer of at least n bytes. Its content is that of an earlier
// request.
func (s *share) buffer(ctx context.Context, n int64) ([]byte, error) {
	size := roundUp(n)
	if err := s.take(ctx, size); err != nil {
		return nil, err
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, buffer := range slices.Backward(b.idle) {
		if int64(cap(buffer)) == size {
			b.idle = slices.Delete(b.idle, i, i+1)
			b.kept -= size
			return buffer, nil
		}
	}
	b.dropIdle()
	return make([]byte, size), nil
}

// release gives a buffer back, which may be nil.
func (s *share) release(buffer []byte) {
	size := int64(cap(buffer))
	if size == 0 {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = append(b.idle, buffer[:size])
	b.kept += size
	b.giveBack(s, size)
	b.dropIdle()
}

// mostIdle is how many idle buffers there are at most.
const mostIdle = 256

// dropIdle drops the buffers that have been idle for longest, until no more are left than
// there is room for: requests are of other sizes than they were, perhaps.
func (b *budget) dropIdle() {
	room, n := b.limit/4, 0
	if used := b.large.used + b.small.used; used > 0 {
		room += max(0, b.limit-used)
	}
	for ; b.kept > room || len(b.idle)-n > mostIdle; n++ {
		b.kept -= int64(cap(b.idle[n]))
	}
	b.idle = slices.Delete(b.idle, 0, n)
}

// roundUp is the size of a buffer for n bytes: there are four sizes for each
// power of two, so that buffers can be used again.
func roundUp(n int64) int64 {
	n = max(n, firstRead)
	step := int64(1) << (bits.Len64(uint64(n-1)) - 3)
	return (n + step - 1) / step * step
}
