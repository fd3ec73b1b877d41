package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load is requests for a server, and the way in which they are sent.
type load struct {
	kind
	requests    []request
	connections int
	// limit is how long requests are begun, one after another on each
	// connection, unless due says when each is to be begun.
	limit time.Duration
	due   []time.Duration
}

// loaded is the outcome of a load.
type loaded struct {
	wall      time.Duration
	cpu       time.Duration // of this process
	events    int
	acked     []bool          // by request
	refused   int             // requests that were asked to come again later
	latencies []time.Duration // from when a request was due, sorted
}

func (l loaded) rate() float64 { return float64(l.events) / l.wall.Seconds() }

func (l loaded) p50() float64 { return l.percentile(0.5) }
func (l loaded) p99() float64 { return l.percentile(0.99) }

// percentile is the latency in milliseconds that a share of the requests kept.
func (l loaded) percentile(share float64) float64 {
	if len(l.latencies) == 0 {
		return 0
	}
	i := min(int(share*float64(len(l.latencies))), len(l.latencies)-1)
	return l.latencies[i].Seconds() * 1e3
}

// schedule are the times at which n requests are due when they come at rate a
// second, by chance and not at regular intervals, and do not wait for answers.
func schedule(n int, rate float64) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 2))
	due := make([]time.Duration, n)
	at := 0.0
	for i := range due {
		at += r.ExpFloat64() / rate
		due[i] = time.Duration(at * float64(time.Second))
	}
	return due
}

// errRefused says that the server asked to be tried again later.
var errRefused = errors.New("the request was refused for now")

// refusedPause is how long a client waits then.
const refusedPause = time.Second

// run sends the load to addr. A request that is refused for lack of room is
// counted, and its connection waits; anything else but an acknowledgement is an
// error.
func (l load) run(ctx context.Context, addr string) (loaded, error) {
	result := loaded{acked: make([]bool, len(l.requests))}
	latencies, errs := make([][]time.Duration, l.connections), make([]error, l.connections)
	var next, refused atomic.Int64
	var wg sync.WaitGroup
	before, start := processCPU(), time.Now()
	for i := range l.connections {
		wg.Go(func() {
			c := client{addr: addr}
			defer c.close()
			for errs[i] == nil {
				number := int(next.Add(1)) - 1
				if number >= len(l.requests) || l.due == nil && time.Since(start) >= l.limit {
					return
				}
				begin := time.Now()
				if l.due != nil {
					begin = start.Add(l.due[number])
					time.Sleep(time.Until(begin))
				}
				errs[i] = c.do(ctx, &l.requests[number], l.want)
				if errors.Is(errs[i], errRefused) {
					errs[i] = nil
					refused.Add(1)
					time.Sleep(refusedPause)
					continue
				}
				latencies[i] = append(latencies[i], time.Since(begin))
				result.acked[number] = errs[i] == nil
			}
		})
	}
	wg.Wait()
	result.wall, result.cpu, result.refused = time.Since(start), processCPU()-before, int(refused.Load())
	if err := errors.Join(errs...); err != nil {
		return result, err
	}
	result.latencies = slices.Concat(latencies...)
	slices.Sort(result.latencies)
	for i, acked := range result.acked {
		if acked {
			result.events += l.requests[i].events
		}
	}
	return result, nil
}

// client is one connection, made when it is first used. It writes what was
// rendered and does no more with answers than it must, so that the machine is
// the server's.
type client struct {
	addr       string
	connection net.Conn
	reader     *bufio.Reader
	answer     bytes.Buffer
}

func (c *client) close() {
	if c.connection != nil {
		_ = c.connection.Close()
	}
}

func (c *client) do(ctx context.Context, r *request, want string) (err error) {
	if c.connection == nil {
		if c.connection, err = new(net.Dialer).DialContext(ctx, "tcp", c.addr); err != nil {
			return err
		}
		c.reader = bufio.NewReader(c.connection)
	}
	message := net.Buffers{[]byte(r.head + "Host: " + c.addr + "\r\n\r\n"), r.body}
	if _, err := message.WriteTo(c.connection); err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(io.LimitReader(response.Body, 64<<10)); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable {
		return errRefused
	}
	if answer := c.answer.String(); response.StatusCode != http.StatusOK || !strings.Contains(answer, want) {
		return fmt.Errorf("%s was not acknowledged: %s: %s", r.head[:strings.Index(r.head, "\r\n")], response.Status, answer)
	}
	return nil
}

// processCPU is the processor time of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
