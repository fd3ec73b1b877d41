package collector

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// The endpoints, as Reject and Count name them.
const (
	track   = "track"
	imports = "import"
	engage  = "engage"
	groups  = "groups"
	other   = "other" // a path that is not served
)

// request is a request that is being answered. It is used again for another.
type request struct {
	collector *Collector
	settings  *settings // that were in force when it began
	// ctx bounds everything that the request waits for. A client that closes its
	// connection does not end it: net/http notices a closed connection only when
	// the body has arrived, and then its records are to be stored. Every wait has
	// a bound of its own.
	ctx      context.Context
	w        http.ResponseWriter
	r        *http.Request
	endpoint string
	received time.Time
	share    share
	parameters

	body    []byte // the buffer that text is a part of
	query   []byte // memory for the query
	text    []byte // the records, or the text that came in their place
	json    bool   // they came as such, not in a form
	lines   bool   // one a line
	decoded bool   // text begins like JSON of records
	grant   grant  // of /import
	arrival schema.Arrival

	linkTexts []byte // of the links in asked

	unread bool   // the body has not arrived
	room   []byte // the buffer that rows are rendered into
	// mostMarks is how many marks the rows may have; markRoom is their memory.
	mostMarks int
	markRoom  int64
	outcome   // of the records
}

// begin takes a request from the pool and sets its fixed parts.
func (c *Collector) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, endpoint string) *request {
	q, _ := c.scratch.Get().(*request)
	if q == nil {
		q = &request{}
	}
	q.collector, q.ctx, q.w, q.r, q.endpoint, q.received = c, ctx, w, r, endpoint, c.o.Now()
	q.settings = c.settings.Load()
	q.share.budget = c.budget
	if r.Method == http.MethodPost && r.Body != http.NoBody {
		q.unread = true
		q.share.arrives(c.o.Address(r))
	}
	return q
}

// end gives memory back.
func (q *request) end() {
	c := q.collector
	q.share.release(q.body)
	q.share.release(q.room)
	q.giveMarkRoom()
	o := q.discarded(c)
	o.rendered = nil // it was a part of the room
	*q = request{query: q.query[:0], linkTexts: q.linkTexts[:0], outcome: o}
	c.scratch.Put(q)
}

// read reads parameters and records.
func (q *request) read() *failure {
	if q.r.Method == http.MethodPost {
		if f := q.readBody(); f != nil || q.json {
			return f
		}
	}
	if q.data != nil {
		q.text, q.decoded = q.records()
	}
	return nil
}

// readBody reads the body: JSON, or a form.
func (q *request) readBody() *failure {
	text, buffer, err := read(q.ctx, q.r, newPace(q.w, q.r, &q.collector.o, q.collector.o.BodyTime), &q.share, q.settings.maxBody)
	q.body = buffer
	if err != nil {
		return q.notRead(err)
	}
	q.unread = false
	if isJSON(text) {
		q.text, q.json, q.decoded = text, true, true
		q.lines = strings.Contains(q.r.Header.Get("Content-Type"), "ndjson")
		return nil
	}
	q.parse(text)
	q.text = text // to be kept, unless it is a form with data
	return nil
}

// arrive sets the properties that the records share.
func (q *request) arrive() {
	c := q.collector
	host := q.r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	a := &q.arrival
	a.Received, a.Processed, a.Endpoint = q.received, c.o.Now(), host[:min(len(host), 255)]
	a.Geo = q.settings.geo
	if a.Geo != nil && q.ip {
		a.Place, _ = a.Geo.Locate(c.o.Address(q.r))
	}
	switch q.endpoint {
	case imports:
		a.Import, a.Strict = true, q.strict || q.json && !q.seenRule
	case track:
		a.Oldest = q.received.Add(-c.o.OldestTrack).Unix()
	}
}

// store makes the outcome durable: refused records first, so that a client that
// sends again after a failure does not store the others twice.
func (q *request) store() *failure {
	c := q.collector
	if len(q.rejects) > 0 {
		if err := c.o.Rejects.Reject(q.ctx, q.rejects); err != nil {
			return unavailable(err)
		}
	}
	// The log takes its time, and wants the rows alone.
	q.share.release(q.body)
	q.body, q.text, q.data = nil, nil, nil
	if err := q.keep(); err != nil {
		return unavailable(err)
	}
	for _, k := range q.links {
		c.linked.add(k)
	}
	c.counts.add(q.tally)
	return nil
}

// keep makes rows durable, and aliases known that are among them.
func (q *request) keep() error {
	if len(q.aliases) == 0 {
		return q.log()
	}
	return q.collector.o.Aliases.Store(q.aliases, q.log)
}

// log makes rows durable.
func (q *request) log() error {
	if len(q.parts) == 0 {
		return nil
	}
	return q.collector.o.Log.Append(q.ctx, q.parts, q.rendered, q.marks)
}
