package clients

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// relay stands between clients and a host. It hands on requests and answers as
// they are, byte by byte, and writes them down. It answers 502, as a gateway does,
// when the host does not answer.
type relay struct {
	address string
	to      string
	pages   http.Handler // for requests that it answers itself; nil: none

	mu        sync.Mutex
	exchanges []exchange
	lose      bool // the next answer to /track
}

// exchange is a request and its answer.
type exchange struct {
	method, path, query string
	header              http.Header
	body                []byte // as sent
	status              int
	answer              []byte
	lost                bool      // the host has answered, and the client does not know
	at                  time.Time // when the request had come
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), to: to}
	var open sync.WaitGroup
	var mu sync.Mutex
	clients := map[net.Conn]bool{}
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			clients[c] = true
			mu.Unlock()
			open.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range clients {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return r
}

// serve serves a client's connection. Requests on it come one after another.
func (r *relay) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	var raw bytes.Buffer
	requests := bufio.NewReader(io.TeeReader(client, &raw))
	host := &backend{address: r.to}
	defer host.close()
	for {
		raw.Reset()
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		e := exchange{
			method: request.Method, path: request.URL.Path, query: request.URL.RawQuery, header: request.Header, at: time.Now(),
		}
		if e.body, err = io.ReadAll(request.Body); err != nil {
			return
		}
		if r.pages != nil && (request.URL.Path == pagePath || request.URL.Path == scriptPath) {
			page := newAnswer()
			r.pages.ServeHTTP(page, request)
			page.write(client)
			continue
		}
		answer, keep := host.ask(request, raw.Bytes())
		if answer == nil {
			e.status, keep = http.StatusBadGateway, true
			answer = []byte(unanswered)
		} else {
			e.status, e.answer = host.status, host.body
		}
		// Written down before the client knows.
		if r.note(&e) {
			answer, keep = []byte(unanswered), true
		}
		if _, err := client.Write(answer); err != nil || !keep {
			return
		}
	}
}

// unanswered is the answer to a client when the host gives none.
const unanswered = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

// note writes an exchange down, and reports whether its answer is to be lost.
func (r *relay) note(e *exchange) (lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lose && e.status == http.StatusOK && strings.HasPrefix(e.path, "/track") {
		r.lose, e.lost, e.status = false, true, http.StatusBadGateway
	}
	r.exchanges = append(r.exchanges, *e)
	return e.lost
}

// loseOne loses an answer to /track: when it returns the host has taken
// records of which the client does not know it.
func (r *relay) loseOne(t *testing.T) {
	t.Helper()
	before := len(r.all())
	r.mu.Lock()
	r.lose = true
	r.mu.Unlock()
	r.await(t, "an answer is lost", before, func(e exchange) bool { return e.lost })
}

// await waits for an exchange after the first ones.
func (r *relay) await(t *testing.T, what string, first int, is func(exchange) bool) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(r.all()[first:], is) {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: it did not happen", what)
		}
	}
}

// all are the exchanges up to now.
func (r *relay) all() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.exchanges)
}

// backend is a connection to a host.
type backend struct {
	address string
	conn    net.Conn
	answers *bufio.Reader
	raw     bytes.Buffer

	status int
	body   []byte
}

// ask sends a request and returns the answer's bytes, or nil when there is
// none; keep says that the client's connection stays open.
func (b *backend) ask(request *http.Request, raw []byte) (answer []byte, keep bool) {
	if b.conn == nil {
		c, err := net.DialTimeout("tcp", b.address, 10*time.Second)
		if err != nil {
			return nil, true
		}
		b.raw.Reset()
		b.conn, b.answers = c, bufio.NewReader(io.TeeReader(c, &b.raw))
	}
	b.raw.Reset()
	if _, err := b.conn.Write(raw); err != nil {
		b.close()
		return nil, true
	}
	response, err := http.ReadResponse(b.answers, request)
	if err != nil {
		b.close()
		return nil, true
	}
	b.status = response.StatusCode
	if b.body, err = io.ReadAll(response.Body); err != nil {
		b.close()
		return nil, true
	}
	if response.Close {
		b.close()
	}
	return bytes.Clone(b.raw.Bytes()), !response.Close
}

func (b *backend) close() {
	if b.conn != nil {
		_ = b.conn.Close()
		b.conn = nil
	}
}

// answer is the output of a page's handler.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}, status: http.StatusOK} }

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *answer) write(w io.Writer) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", a.status, http.StatusText(a.status), a.body.Len())
	_ = a.header.Write(&b)
	b.WriteString("\r\n")
	b.Write(a.body.Bytes())
	_, _ = w.Write(b.Bytes()) // a client that is gone reads no page
}
