package snowflake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"time"
)

// errStalled is the error of an upload that was given up since the storage took nothing.
var errStalled = errors.New("the storage of the stage has taken no byte of the upload")

// stallTicks is how often a transfer is looked at within the time of a stall.
const stallTicks = 4

// transfer watches an upload of the driver, which sends the service one request and its
// storage others. Until the service has answered, its silence is bounded. From the first
// connection to the storage on, the upload is given up when it makes no progress for
// stallTicks ticks: no byte is acknowledged or received, and no connection or answer
// begins. Between the two the driver reads and encrypts the file, which no limit bounds.
//
// It is safe for concurrent use.
type transfer struct {
	giveUp func(error)
	stall  time.Duration
	// measure returns the bytes that a connection has transferred. It reports whether they
	// are known.
	measure func(net.Conn) (uint64, bool)

	mu       sync.Mutex
	silence  *time.Timer // until the service has answered
	ticker   *time.Timer // of tick; nil: the storage was not turned to yet
	answered bool
	done     bool
	conns    []net.Conn // of requests to the storage
	events   uint64     // connections and answers that have begun
	seen     uint64     // events and bytes at the tick before
	still    int        // ticks without progress
}

// watchUpload is watch for an upload.
func (p *patience) watchUpload(ctx context.Context) (watched context.Context, done func()) {
	watched, giveUp := context.WithCancelCause(ctx)
	t := &transfer{giveUp: giveUp, stall: cmp.Or(p.stall, stallTime), measure: transferred}
	limit := cmp.Or(p.silence, silenceTime)
	t.silence = time.AfterFunc(limit, func() { giveUp(fmt.Errorf("%w for %s", errSilent, limit)) })
	return httptrace.WithClientTrace(watched, &httptrace.ClientTrace{
		ConnectStart:         func(string, string) { t.advance(nil) },
		ConnectDone:          func(string, string, error) { t.advance(nil) },
		GotConn:              func(i httptrace.GotConnInfo) { t.advance(i.Conn) },
		GotFirstResponseByte: t.answer,
	}), t.end
}

// advance notes that a connection is made, or was got.
func (t *transfer) advance(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.answered || t.done {
		return
	}
	t.events++
	if conn != nil {
		t.conns = append(t.conns, conn)
	}
	if t.ticker == nil {
		t.ticker = time.AfterFunc(t.stall/stallTicks, t.tick)
	}
}

// answer notes that an answer of the service or its storage has begun.
func (t *transfer) answer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silence.Stop()
	t.answered = true
	t.events++
}

// end ends the watch.
func (t *transfer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	t.silence.Stop()
	if t.ticker != nil {
		t.ticker.Stop()
	}
}

// tick compares the progress with that of the tick before.
func (t *transfer) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	now, known := t.progress()
	if t.still++; now != t.seen || !known {
		t.seen, t.still = now, 0
	}
	if t.still >= stallTicks {
		t.done = true
		t.giveUp(fmt.Errorf("%w for %s", errStalled, t.stall))
		return
	}
	t.ticker.Reset(t.stall / stallTicks)
}

// progress returns a number that grows with the transfer, and drops connections that are
// closed. It is not known where the system does not count bytes. The caller holds the lock.
func (t *transfer) progress() (sum uint64, known bool) {
	sum = t.events
	open := t.conns[:0]
	for _, c := range t.conns {
		n, ok := t.measure(c)
		if !ok {
			return 0, false
		}
		if n > 0 {
			sum += n
			open = append(open, c)
		}
	}
	t.conns = open
	return sum, true
}

// socketOf returns the connection below TLS.
func socketOf(c net.Conn) net.Conn {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn()
	}
	return c
}
