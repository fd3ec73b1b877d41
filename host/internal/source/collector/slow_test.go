package collector

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// dialFrom connects from an address of the loopback network.
func dialFrom(t *testing.T, server *httptest.Server, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func begin(t *testing.T, c net.Conn, headers string, length int, sent string) {
	t.Helper()
	_, err := fmt.Fprintf(c, "POST /track HTTP/1.1\r\nHost: in.example.com\r\n%sContent-Length: %d\r\n\r\n%s", headers, length, sent)
	if err != nil {
		t.Fatal(err)
	}
}

// Bodies that do not end, large ones and very many small ones, keep no ordinary
// client waiting: it is answered while they are all open, though a request may
// wait for room for an hour.
func TestUnfinishedBodiesKeepOthersServed(t *testing.T) {
	for name, from := range map[string]func(i int) string{
		"one address":       func(int) string { return "127.0.0.2" },
		"several addresses": func(i int) string { return fmt.Sprintf("127.0.0.%d", 2+i%50) },
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{}
			o := options(b)
			o.MaxBody, o.InFlight, o.Wait, o.BodyStep, o.BodyTime = 10_000_000, 24<<20, time.Hour, time.Hour, time.Hour
			c := newCollector(t, o)
			server := httptest.NewServer(c)
			defer server.CloseClientConnections()
			const size, sent = 9_000_000, 8_900_000
			for i := range 3 {
				conn := dialFrom(t, server, from(i))
				go func() {
					// It blocks once the server waits for room.
					_, _ = fmt.Fprintf(conn, "POST /track HTTP/1.1\r\nHost: in.example.com\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat(" ", sent))
				}()
			}
			until(t, "large bodies do not arrive", func() bool { return c.budget.usedNow() >= 11<<20 })
			const many = 3000
			for i := range many {
				begin(t, dialFrom(t, server, from(i)), "", size, "[")
			}
			until(t, "small bodies do not arrive", func() bool { return c.flights.now() == many+3 })
			client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
			for _, body := range []string{ev(""), "[" + strings.Repeat(ev(`,"x":"`+strings.Repeat("x", 500)+`"`)+",", 50) + ev("") + "]"} {
				answer, err := client.Post(server.URL+"/track", asJSON, strings.NewReader(body))
				if err != nil {
					t.Fatalf("a good client is not answered: %v", err)
				}
				text, err := io.ReadAll(answer.Body)
				if answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK || string(text) != "1" {
					t.Errorf("%d %s %v", answer.StatusCode, text, err)
				}
			}
			if name != "one address" {
				return
			}
			// So is a large request of another address.
			body := "[" + strings.TrimSuffix(strings.Repeat(ev(`,"x":"`+strings.Repeat("x", 1000)+`"`)+",", 1000), ",") + "]"
			answer, err := client.Post(server.URL+"/track", asJSON, strings.NewReader(body))
			if err != nil {
				t.Fatalf("a large request is not answered: %v", err)
			}
			if answer.Body.Close(); answer.StatusCode != http.StatusOK {
				t.Errorf("a large request: %d", answer.StatusCode)
			}
		})
	}
}

func (f *flights) now() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// A body of which nothing more comes is refused when the time for its next bytes
// is over, and one that keeps coming is not.
func TestABodyHasToComeAtARate(t *testing.T) {
	b := &book{}
	o := options(b)
	o.BodyStep, o.BodyTime = 200*time.Millisecond, time.Minute
	c := newCollector(t, o)
	server := httptest.NewServer(c)
	defer server.Close()
	stalled := dialFrom(t, server, "127.0.0.1")
	begin(t, stalled, "", 5000, "[")
	answer, err := http.ReadResponse(bufio.NewReader(stalled), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(answer.Body); answer.StatusCode != http.StatusRequestTimeout || err != nil || !answer.Close {
		t.Errorf("%d %s %v", answer.StatusCode, text, err)
	}
	requests := c.Requests()
	if len(requests) != 1 || requests[0].Reason != slowBody {
		t.Errorf("%+v", requests)
	}
	// Each step begins when the one before has arrived: all of them together take
	// longer than one may.
	steady := dialFrom(t, server, "127.0.0.1")
	event := ev(`,"x":"` + strings.Repeat("x", 4*paceBytes) + `"`)
	begin(t, steady, "", len(event), "")
	for tick := time.NewTicker(60 * time.Millisecond); len(event) > 0; <-tick.C {
		n := min(len(event), paceBytes)
		if _, err := io.WriteString(steady, event[:n]); err != nil {
			t.Fatal(err)
		}
		event = event[n:]
	}
	if answer, err = http.ReadResponse(bufio.NewReader(steady), nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%v %v", answer, err)
	}
}

// Credentials that header or query tell to be wrong are refused before the body
// is there, and without memory for it.
func TestCredentialsAreCheckedBeforeTheBody(t *testing.T) {
	b := &book{}
	o := options(b)
	o.BodyStep, o.BodyTime = time.Hour, time.Hour
	c := newCollector(t, o)
	server := httptest.NewServer(c)
	defer server.CloseClientConnections()
	const wrong = "Authorization: Basic bm9ib2R5Ondyb25n\r\n"
	for name, head := range map[string]string{
		"a wrong password":       "POST /import HTTP/1.1\r\n" + wrong,
		"a wrong secret":         "POST /import HTTP/1.1\r\nAuthorization: Basic bm9ib2R5Og==\r\n",
		"a wrong key in query":   "POST /import?api_key=x HTTP/1.1\r\n",
		"none, and JSON":         "POST /import HTTP/1.1\r\nContent-Type: application/json\r\n",
		"a project of no name":   "POST /import?project_id=7 HTTP/1.1\r\nAuthorization: Basic Y2kuc2VydmljZTpjaS1zZWNyZXQ=\r\n",
		"a wrong password, gzip": "POST /import HTTP/1.1\r\nContent-Encoding: gzip\r\n" + wrong,
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialFrom(t, server, "127.0.0.1")
			if _, err := io.WriteString(conn, head+"Host: in.example.com\r\nContent-Length: 90000\r\n\r\n["); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusUnauthorized || !answer.Close || c.budget.usedNow() != 0 {
				t.Errorf("%d, %d bytes are held", answer.StatusCode, c.budget.usedNow())
			}
		})
	}
	// A client that sends all before it looks sees the answer, too.
	o.MaxBody = 8 << 20
	large := httptest.NewServer(newCollector(t, o))
	defer large.Close()
	conn := dialFrom(t, large, "127.0.0.1")
	const size = 6 << 20
	_, err := fmt.Fprintf(conn, "POST /import HTTP/1.1\r\nHost: in.example.com\r\n%sContent-Length: %d\r\n\r\n%s", wrong, size, strings.Repeat(" ", size))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Fatal(answer, err)
	}
	// A key, or a project, that a form has is waited for.
	says(t, send(c, post("/import", asForm, "verbose=1&api_key=api-secret&project_id=1001&data="+b64(whole("i")))), http.StatusOK, `{"status":1,"error":null}`)
	says(t, send(c, user(post("/import", asForm, "verbose=1&project_id=1001&data="+b64(whole("i"))), "ci.service", "ci-secret")), http.StatusOK, `{"status":1,"error":null}`)
}
