package collector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/gif"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

func (b *budget) usedNow() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.small.used + b.large.used
}

// until waits for a condition that becomes true by itself.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for tick := time.NewTicker(time.Millisecond); !done(); {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(what)
		}
	}
}

// Clients that say that they will send much, and do not, hold what they have
// sent; others are answered while they wait.
func TestSlowClientsHoldWhatTheyHaveSent(t *testing.T) {
	b := &book{}
	o := options(b)
	o.MaxBody, o.InFlight = 10_000_000, 24<<20
	c := newCollector(t, o)
	server := httptest.NewServer(c)
	defer server.Close()
	const clients, sent = 100, 20_000
	for range clients {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST /track HTTP/1.1\r\nHost: in.example.com\r\nContent-Length: 10000000\r\n\r\n%s", strings.Repeat(" ", sent))
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "not all have been read", func() bool { return c.budget.usedNow() >= clients*sent })
	if used := c.budget.usedNow(); used > clients*3*sent {
		t.Errorf("%d clients that have sent %d bytes each hold %d", clients, sent, used)
	}
	answer, err := http.Post(server.URL+"/track", asJSON, strings.NewReader(ev("")))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || string(body) != "1" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

// Large requests wait for each other; all are answered, none beyond the limit
// and one request.
func TestRequestsWaitForMemory(t *testing.T) {
	b := &watching{}
	o := options(&b.book)
	o.Log, o.MaxBody, o.InFlight, o.Wait = b, 1_000_000, 4<<20, time.Minute
	c := newCollector(t, o)
	b.budget = c.budget
	body := "[" + strings.TrimSuffix(strings.Repeat(ev(`,"x":"`+strings.Repeat("x", 200)+`"`)+",", 2000), ",") + "]"
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			r := post("/track", asJSON, body)
			if i%2 == 0 {
				r = as(post("/track", asJSON, packed(body, 1)), "Content-Encoding", "gzip")
			}
			says(t, send(c, r), http.StatusOK, "1")
		})
	}
	wg.Wait()
	if c.budget.usedNow() != 0 {
		t.Errorf("%d bytes are not given back", c.budget.usedNow())
	}
	if most := b.most; most > 4<<20+4_000_000 {
		t.Errorf("requests held %d bytes", most)
	}
}

// watching is a log that looks at how much requests hold.
type watching struct {
	book
	budget *budget
	most   int64
}

func (w *watching) Append(context.Context, []rowlog.Part, []byte, []rowmark.Mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = max(w.most, w.budget.usedNow())
	return nil
}

// Without room a request is asked to come again, in the words of its endpoint.
func TestNoRoom(t *testing.T) {
	b := &book{}
	o := options(b)
	o.InFlight, o.Wait = 1000, time.Nanosecond
	c := newCollector(t, o)
	other := &share{budget: c.budget}
	if err := other.take(t.Context(), 2000); err != nil {
		t.Fatal(err)
	}
	w := send(c, post("/track", asJSON, ev("")))
	says(t, w, http.StatusServiceUnavailable, `{"error":"too many requests are in flight, try again","status":"error"}`)
	if w.Header().Get("Retry-After") != "2" {
		t.Error(w.Header())
	}
	w = send(c, imported("", asJSON, "["+whole("i")+"]"))
	says(t, w, http.StatusTooManyRequests,
		`{"code":429,"error":"Project exceeded rate limits. Please retry the request with exponential backoff.","status":"Too Many Requests"}`)
	if w.Header().Get("Retry-After") != "2" || len(b.taken()) != 0 {
		t.Error(w.Header())
	}
	other.give(2000)
	says(t, send(c, post("/track", asJSON, ev(""))), http.StatusOK, "1")
}

func TestDraining(t *testing.T) {
	b := &book{}
	o := options(b)
	var broken error
	o.Ready = func() error { return broken }
	c := newCollector(t, o)
	broken = errors.New("no log")
	says(t, send(c, get("/readyz")), http.StatusServiceUnavailable, "not ready: the write-ahead log cannot be written\n")
	broken = fmt.Errorf("begin a file: %w", wal.ErrFull)
	says(t, send(c, get("/readyz")), http.StatusServiceUnavailable, "not ready: the disk of the write-ahead log is full\n")
	broken = nil
	says(t, send(c, get("/readyz")), http.StatusOK, "ready\n")
	c.Drain()
	says(t, send(c, get("/readyz")), http.StatusServiceUnavailable, "draining\n")
	says(t, send(c, get("/healthz")), http.StatusOK, "ok\n")
	w := send(c, post("/track", asJSON, ev("")))
	says(t, w, http.StatusOK, "1")
	if w.Header().Get("Connection") != "close" || len(b.taken()) != 1 {
		t.Error(w.Header())
	}
}

func TestThePixelIsAnImage(t *testing.T) {
	image, err := gif.Decode(strings.NewReader(pixel))
	if err != nil || image.Bounds().Dx() != 1 || image.Bounds().Dy() != 1 {
		t.Fatal(image, err)
	}
	if _, _, _, alpha := image.At(0, 0).RGBA(); alpha != 0 {
		t.Error("the pixel is seen")
	}
}

// Base64 of the Node client decodes, with its pluses as spaces or not.
func TestBase64ThatNobodyEscaped(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	const value = `ûûû>>>???ï¿½`
	encoded := b64(ev(`,"$insert_id":"i","x":"` + value + `"`))
	if !strings.Contains(encoded, "+") {
		t.Fatalf("no plus in %s", encoded)
	}
	for _, r := range []*http.Request{
		post("/track", asForm, "ip=0&verbose=0&data="+encoded),
		post("/track", asForm, "data="+strings.ReplaceAll(encoded, "+", "%20")),
		get("/track?data=" + encoded),
	} {
		says(t, send(c, r), http.StatusOK, "1")
		if lines := b.taken(); len(lines) != 1 || !strings.Contains(lines[0], `"x":"`+value+`"`) {
			t.Errorf("%s", lines)
		}
	}
}

// towns is a Geo that knows two addresses.
type towns struct{}

func (towns) Locate(a netip.Addr) (schema.Place, bool) {
	switch a.String() {
	case "192.0.2.1": // httptest's clients
		return schema.Place{City: "Bern", Region: "Bern", Country: "CH"}, true
	case "2001:db8::1":
		return schema.Place{City: "Quito", Country: "EC"}, true
	}
	return schema.Place{}, false
}

func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		query, record, want string
		geo                 bool
	}{
		{"?ip=1", ev(""), `"$city":"Bern","$region":"Bern","mp_country_code":"CH"`, true},
		{"?ip=0", ev(""), "", true},
		{"", ev(""), "", true},
		{"?ip=1", ev(`,"ip":"2001:db8::1"`), `"$city":"Quito","mp_country_code":"EC"`, true},
		{"?ip=1", ev(`,"ip":"0"`), "", true},
		{"?ip=1", ev(`,"$city":"Ulm"`), `"$region":"Bern","mp_country_code":"CH"`, true},
		{"?ip=1", ev(`,"ip":"192.0.2.1"`), "", false},
	} {
		b := &book{}
		o := options(b)
		if test.geo {
			o.Geo = towns{}
		}
		c := newCollector(t, o)
		says(t, send(c, post("/track"+test.query, asJSON, test.record)), http.StatusOK, "1")
		line := strings.Join(b.taken(), "")
		if strings.Contains(line, "192.0.2.1") || strings.Contains(line, "2001:db8") {
			t.Errorf("an address is stored: %s", line)
		}
		if test.want == "" && strings.Contains(line, "mp_country_code") || !strings.Contains(line, test.want) {
			t.Errorf("%s %s: %s is not in %s", test.query, test.record, test.want, line)
		}
	}
	b := &book{}
	o := options(b)
	o.Geo = towns{}
	c := newCollector(t, o)
	says(t, send(c, post("/engage?ip=1", asJSON, "["+op(`,"$set":{"a":1}`)+","+op(`,"$ip":"2001:db8::1","$add":{"a":1}`)+","+op(`,"$delete":""`)+","+op(`,"$ip":"0","$set":{}`)+"]")), http.StatusOK, "1")
	want := []string{`{"$city":"Bern","$region":"Bern","$country_code":"CH"}`, `{"a":1}`, `{"$city":"Quito","$country_code":"EC"}`, `{"a":1}`, "null", "{}"}
	var got []string
	for _, line := range b.taken() {
		var row struct{ Value json.RawMessage }
		_, line, _ = strings.Cut(line, " profiles ")
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(row.Value))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("values %s, want %s", got, want)
	}
}

// A request's memory is used again, and nothing of the earlier one is seen.
func TestMemoryIsUsedAgain(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	for i := range 50 {
		n := i%7 + 1
		var list []string
		for j := range n {
			list = append(list, ev(fmt.Sprintf(`,"$insert_id":"i-%d-%d","x":%q`, i, j, bytes.Repeat([]byte{'x'}, i*40))), `{"event":7}`)
		}
		says(t, send(c, post("/track", asJSON, "["+strings.Join(list, ",")+"]")), http.StatusOK, "1")
		lines, refused := b.taken(), b.refused()
		if len(lines) != n || len(refused) != n {
			t.Fatalf("request %d: %d rows, %d refused, want %d", i, len(lines), len(refused), n)
		}
		for j, line := range lines {
			if !strings.Contains(line, fmt.Sprintf(`"insert_id":"i-%d-%d"`, i, j)) || !json.Valid([]byte(strings.SplitN(line, " ", 3)[2])) {
				t.Fatalf("request %d: %s", i, line)
			}
		}
	}
}

// A client that sends more than is taken, and looks only then, sees why.
func TestTheAnswerToALargeBodyArrives(t *testing.T) {
	b := &book{}
	o := options(b)
	o.MaxBody = 8 << 20
	server := httptest.NewServer(newCollector(t, o))
	defer server.Close()
	for range 3 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		const size = 16<<20 - 1000
		_, err = fmt.Fprintf(conn, "POST /track HTTP/1.1\r\nHost: in.example.com\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat(" ", size))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatal(answer, err)
		}
		if err := errors.Join(answer.Body.Close(), conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// An error of the log decides the answer.
func TestRefusalsOfTheLog(t *testing.T) {
	for err, want := range map[error]string{
		wal.ErrFull:     `503 60 {"error":"the records could not be stored, try again","status":"error"}`,
		wal.ErrBroken:   `503 5 {"error":"the records could not be stored, try again","status":"error"}`,
		wal.ErrClosed:   `503 5 {"error":"the records could not be stored, try again","status":"error"}`,
		wal.ErrTooLarge: `413  {"error":"the records take more room than one request may","status":"error"}`,
	} {
		c := newCollector(t, options(&book{fail: fmt.Errorf("log 1 rows: %w", err)}))
		w := send(c, post("/track", asJSON, ev("")))
		if got := fmt.Sprintf("%d %s %s", w.Code, w.Header().Get("Retry-After"), w.Body); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
