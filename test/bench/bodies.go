package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// collectToken is the token of the project that is collected for.
const collectToken = "bench-token"

// request is one HTTP request. It is rendered before anything is measured.
type request struct {
	head   string // its header, but for the host
	body   []byte
	first  int // number of its first event
	events int
	raw    int // bytes of the events' JSON
}

// kind is a way of sending events.
type kind struct {
	name   string
	events int // of a request
	days   int // that the events are of
	// oneUser says that a request's events are of one user.
	oneUser bool
	most    float64 // processor time until the events are exported, as a multiple of the limit's: the bar
	want    string  // in the answer that acknowledges a request
	render  func(number int, events []byte) request
}

// sdk sends as SDKs do: every second request is a form with base64, as from
// browsers, the others are JSON, as from phones.
func sdk(events int) kind {
	return kind{"/track", events, 2, true, 5, `"status":1`, func(number int, body []byte) request {
		contentType := "application/json"
		if number%2 == 0 {
			contentType = "application/x-www-form-urlencoded"
			body = []byte("data=" + url.QueryEscape(base64.StdEncoding.EncodeToString(body)))
		}
		return request{head: post("/track?verbose=1&ip=0", body, "Content-Type: "+contentType), body: body}
	}}
}

// imports sends as servers do: /import, strict and gzipped.
func imports(events int) kind {
	credentials := base64.StdEncoding.EncodeToString([]byte(collectToken + ":"))
	return kind{"/import, gzip", events, 30, false, 3, fmt.Sprintf(`"num_records_imported":%d,`, events), func(_ int, body []byte) request {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body) // a buffer takes everything
		_ = z.Close()
		return request{
			head: post("/import?strict=1", b.Bytes(), "Content-Type: application/json", "Content-Encoding: gzip", "Authorization: Basic "+credentials),
			body: b.Bytes(),
		}
	}}
}

func post(path string, body []byte, headers ...string) string {
	head := "POST " + path + " HTTP/1.1\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	return head
}

// requests renders n events, in order of time up to a minute ago. They depend
// on the seed and the time of day.
func (k kind) requests(n int) []request {
	list := make([]request, n/k.events)
	end := time.Now().Add(-time.Minute).Unix()
	var wg sync.WaitGroup
	for part := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := part; i < len(list); i += runtime.GOMAXPROCS(0) {
				events := k.piece(i, n, end)
				list[i] = k.render(i, events)
				list[i].first, list[i].events, list[i].raw = i*k.events, k.events, len(events)
			}
		})
	}
	wg.Wait()
	return list
}

// piece is the JSON array of a request's events. Their insert ids begin with
// their numbers.
func (k kind) piece(number, n int, end int64) []byte {
	const properties, insert = `"properties":{`, `"$insert_id":"`
	r := rand.New(rand.NewPCG(seed, 1<<32+uint64(number)))
	b := make([]byte, 0, k.events*(eventSize+80))
	b = append(b, '[')
	var event []byte
	user := r.Uint64N(users)
	for i := range k.events {
		if !k.oneUser {
			user = r.Uint64N(users)
		}
		event = appendEvent(event[:0], r, end-int64(n-number*k.events-i)*int64(k.days)*86400/int64(n), user)
		at := bytes.Index(event, []byte(insert)) + len(insert)
		appendHex(event[:at], uint64(number*k.events+i), numberDigits)
		from := bytes.Index(event, []byte(properties)) + len(properties)
		b = append(b, event[:from]...)
		b = append(b, `"token":"`+collectToken+`",`...)
		b = append(b, event[from:len(event)-1]...)
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return b
}

// numberDigits are the digits of an insert id that are its event's number.
const numberDigits = 16
