package listen

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limit returns a listener that hands out at most limit connections of l that
// are open at the same time, and at most three quarters of them to one address
// (or, of IPv6, one network of 64 bits). As many again wait. Closing it closes l
// and the connections that wait.
func Limit(l net.Listener, limit int) net.Listener {
	f := &limited{Listener: l, limit: limit, share: max(1, limit*3/4), open: map[netip.Prefix]int{}}
	f.changed.L = &f.mu
	go f.run()
	return f
}

type limited struct {
	net.Listener
	limit, share int

	mu      sync.Mutex
	changed sync.Cond // of ready and err
	open    map[netip.Prefix]int
	served  int        // connections that are open
	ready   []net.Conn // of these, those that Accept has not handed out
	waiting []*conn    // the oldest first
	err     error      // of l
}

// conn is a connection that counts until it is closed.
type conn struct {
	net.Conn
	listener *limited
	from     netip.Prefix
	once     sync.Once
}

// run accepts connections until the listener fails.
func (l *limited) run() {
	for pause := time.Duration(0); ; {
		c, err := l.Listener.Accept()
		if isTemporary(err) {
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		}
		if err != nil {
			l.fail(err)
			return
		}
		pause = 0
		l.arrive(&conn{Conn: c, listener: l, from: prefixOf(c.RemoteAddr())})
	}
}

// isTemporary reports whether a listener goes on after an error, such as too
// many open files.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

// prefixOf is the part of an address by which clients are told apart.
func prefixOf(a net.Addr) netip.Prefix {
	port, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	address, bits := port.Addr().Unmap(), 32
	if address.Is6() {
		bits = 64
	}
	p, _ := address.WithZone("").Prefix(bits)
	return p
}

func (l *limited) arrive(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil || len(l.waiting) == l.limit && !l.fits(c):
		_ = c.Conn.Close() // its client learns it
	case l.fits(c):
		l.admit(c)
	default:
		l.waiting = append(l.waiting, c)
	}
}

func (l *limited) fits(c *conn) bool { return l.served < l.limit && l.open[c.from] < l.share }

func (l *limited) admit(c *conn) {
	l.served++
	l.open[c.from]++
	l.ready = append(l.ready, c)
	l.changed.Signal()
}

// fail ends the listener: Accept returns err from now on.
func (l *limited) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	for _, c := range l.waiting {
		_ = c.Conn.Close()
	}
	for _, c := range l.ready {
		_ = c.(*conn).Conn.Close()
	}
	l.waiting, l.ready = nil, nil
	l.changed.Broadcast()
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) == 0 && l.err == nil {
		l.changed.Wait()
	}
	if l.err != nil {
		return nil, l.err
	}
	c := l.ready[0]
	l.ready = slices.Delete(l.ready, 0, 1)
	return c, nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.listener.release(c) })
	return err
}

// release takes a connection off and admits one that waits, if there is one for
// which there is room.
func (l *limited) release(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served--
	if l.open[c.from]--; l.open[c.from] == 0 {
		delete(l.open, c.from)
	}
	if i := slices.IndexFunc(l.waiting, l.fits); i >= 0 {
		next := l.waiting[i]
		l.waiting = slices.Delete(l.waiting, i, i+1)
		l.admit(next)
	}
}
