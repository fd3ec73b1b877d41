package listen_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/listen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listening hands out what a limited listener accepts.
func listening(t *testing.T, limit int) (net.Listener, <-chan net.Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := listen.Limit(inner, limit)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	return l, accepted
}

// dial connects from an address of the loopback network.
func dial(t *testing.T, l net.Listener, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func next(t *testing.T, accepted <-chan net.Conn) net.Conn {
	t.Helper()
	select {
	case c := <-accepted:
		return c
	case <-time.After(time.Minute):
		t.Fatal("no connection is accepted")
		return nil
	}
}

func from(c net.Conn) string { return c.RemoteAddr().(*net.TCPAddr).IP.String() }

// One address with more connections than there may be leaves room to others, and
// its own wait until others of it are closed.
func TestOneAddressLeavesRoomToOthers(t *testing.T) {
	l, accepted := listening(t, 8)
	many, one := "127.0.0.2", "127.0.0.3"
	for range 14 { // 6 are served, 8 wait
		dial(t, l, many)
	}
	var served []net.Conn
	for range 6 {
		served = append(served, next(t, accepted))
	}
	for range 2 {
		dial(t, l, one)
		c := next(t, accepted)
		if from(c) != one {
			t.Fatalf("a connection of %s is accepted beyond its share", from(c))
		}
		served = append(served, c)
	}
	// All eight are taken: the next one of either waits for one that is closed.
	if err := served[0].Close(); err != nil {
		t.Fatal(err)
	}
	c := next(t, accepted)
	if from(c) != many {
		t.Errorf("%s comes before those that have waited longer", from(c))
	}
	for _, c := range append(served[1:], c) {
		if err := errors.Join(c.Close(), c.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
	for range 6 {
		if err := next(t, accepted).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if c, open := <-accepted; open {
		_ = c.Close()
		if c, open = <-accepted; open {
			t.Errorf("a closed listener accepts %s", from(c))
		}
	}
}

// Beyond as many connections that wait, further ones are closed at once; those
// that wait are closed with the listener.
func TestTooManyThatWait(t *testing.T) {
	l, accepted := listening(t, 2)
	var clients []net.Conn
	for range 4 { // one is served, two wait, one is closed
		clients = append(clients, dial(t, l, "127.0.0.2"))
	}
	served := next(t, accepted)
	closed := func(c net.Conn) {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) || isTimeout(err) {
			t.Errorf("a connection is still open: %v", err)
		}
	}
	closed(clients[3])
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	closed(clients[1])
	closed(clients[2])
	if err := served.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-accepted; open {
		t.Error("a closed listener accepts a connection")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
