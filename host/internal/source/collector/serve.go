package collector

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// harmless are the answers to other requests of clients, by the first part of the
// path.
var harmless = map[string]string{
	"decide":   `{"notifications":[],"config":{}}`,
	"flags":    `{"flags":{}}`,
	"settings": `{}`,
	"record":   `{"code":200,"status":"OK"}`,
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if c.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	c.allowOrigin(w.Header(), r)
	path := strings.Trim(r.URL.Path, "/")
	first, _, deeper := strings.Cut(path, "/")
	switch {
	case path == "healthz":
		write(w, http.StatusOK, plainType, "ok\n")
	case path == "readyz":
		c.ready(w)
	case r.Method == http.MethodOptions:
		preflight(w.Header(), r)
		w.WriteHeader(http.StatusNoContent)
	case path == track || path == imports || path == engage || path == groups:
		c.take(w, r, path)
	case path == "flags/definitions":
		write(w, http.StatusOK, jsonType, `{"flags":[]}`)
	case harmless[first] != "" && (!deeper || first != "decide"):
		write(w, http.StatusOK, jsonType, harmless[first])
	default:
		c.refuse(w, r, other, errPath)
	}
}

// ready reports whether records can be taken.
func (c *Collector) ready(w http.ResponseWriter) {
	switch err := c.o.Ready(); {
	case c.draining.Load():
		write(w, http.StatusServiceUnavailable, plainType, "draining\n")
	case err != nil:
		c.log.Warn("not ready", "reason", err)
		write(w, http.StatusServiceUnavailable, plainType, "not ready: "+notReadyReason(err)+"\n")
	default:
		write(w, http.StatusOK, plainType, "ready\n")
	}
}

// notReadyReason returns why records cannot be taken. Everyone who reaches the port reads it:
// paths stay in the host's log.
func notReadyReason(err error) string {
	if errors.Is(err, wal.ErrFull) {
		return "the disk of the write-ahead log is full"
	}
	return "the write-ahead log cannot be written"
}

// Drain asks clients to stop: /readyz answers 503, and connections are closed after
// their answers. Requests that come all the same are answered as before.
func (c *Collector) Drain() { c.draining.Store(true) }

// Wait returns when no request is being handled, also none whose client is gone
// already, or the cause of ctx's end. It is called when no more requests come.
func (c *Collector) Wait(ctx context.Context) error { return c.flights.wait(ctx) }

// take answers a request that brings records.
func (c *Collector) take(w http.ResponseWriter, r *http.Request, endpoint string) {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		c.refuse(w, r, endpoint, errMethod)
		return
	}
	c.flights.begin()
	defer c.flights.end()
	q := c.begin(context.WithoutCancel(r.Context()), w, r, endpoint)
	defer q.end()
	if f := q.handle(); f != nil {
		q.fail(f)
		return
	}
	q.reply()
}

// refuse answers a request that is not even begun.
func (c *Collector) refuse(w http.ResponseWriter, r *http.Request, endpoint string, f *failure) {
	c.complaints.add(c.o.Now(), endpoint, r.URL.Path, f)
	c.counts.answered(endpoint, f.status, f.reason)
	write(w, f.status, jsonType, f.text())
}

// handle carries out a request, up to its answer.
func (q *request) handle() *failure {
	if f := q.checkEarly(); f != nil {
		return f
	}
	if f := q.read(); f != nil {
		return f
	}
	if f := q.checkAnswer(); f != nil {
		return f
	}
	if q.endpoint == imports {
		var f *failure
		if q.grant, f = q.authorize(); f != nil {
			return f
		}
	}
	if err := q.makeRoom(); err != nil {
		return q.notRead(err)
	}
	if f := q.collect(); f != nil {
		return f
	}
	return q.store()
}

// checkEarly refuses a request before its body is read when the header or the query
// is wrong: a client without credentials sends no body.
func (q *request) checkEarly() *failure {
	q.query = append(q.query[:0], q.r.URL.RawQuery...)
	q.parse(q.query)
	if f := q.checkAnswer(); f != nil || q.endpoint != imports {
		return f
	}
	_, f := q.authorize()
	if f == nil || !q.mayBeForm() {
		return f
	}
	// A form may have the key, or the project, that is missing.
	if f == errProjectID || q.apiKey == "" && q.r.Header.Get("Authorization") == "" {
		return nil
	}
	return f
}

// mayBeForm reports whether the body may be a form, of which parameters are
// known only when it is there.
func (q *request) mayBeForm() bool {
	return q.unread && !strings.Contains(q.r.Header.Get("Content-Type"), "json")
}

// checkAnswer refuses an answer that would lead a browser where it should not
// go.
func (q *request) checkAnswer() *failure {
	if q.endpoint == imports {
		q.callback, q.redirect, q.img = "", "", false
		return nil
	}
	if q.callback != "" && !isFunction(q.callback) {
		return errCallback
	}
	if q.redirect != "" {
		u, err := url.Parse(q.redirect)
		if err != nil || u.User != nil || !q.settings.redirect[origin(u)] {
			return errRedirect
		}
	}
	return nil
}

// rowRoom is the number of bytes that a row needs beyond its record.
const rowRoom = 700

// makeRoom takes the memory that rows need, before one of the parsers is taken: a
// request with a parser does not wait for memory.
func (q *request) makeRoom() (err error) {
	records := min(MaxRecords, bytes.Count(q.text, []byte("{"))) // at most
	q.room, err = q.share.buffer(q.ctx, int64(len(q.text)+rowRoom*records))
	q.rendered = q.room[:0]
	if err != nil || q.endpoint != track && q.endpoint != imports {
		return err
	}
	return q.makeMarkRoom(records)
}

// collect turns the records into rows.
func (q *request) collect() *failure {
	c := q.collector
	var p *parser
	select {
	case p = <-c.parsers:
	case <-q.ctx.Done():
		return unavailable(context.Cause(q.ctx))
	}
	q.linkRows = p.linkRows
	defer func() {
		p.End()
		p.linkRows, q.linkRows = keptLinkRows(q.linkRows), nil
		c.parsers <- p
	}()
	switch {
	case q.decoded:
	case q.data != nil:
		return q.spoiled("the parameter data is neither JSON nor the base64 of JSON")
	default:
		return q.spoiled("there is neither a JSON body nor a parameter data")
	}
	q.arrive()
	p.Begin(q.text, q.lines)
	for p.Next() {
		if p.Count() > MaxRecords {
			return errTooMany
		}
		switch {
		case p.Refused() != nil:
			project, _ := q.projectOf(nil)
			q.refuse(p.Collector, project, p.Refused())
		case q.endpoint == track || q.endpoint == imports:
			q.event(p.Collector)
		default:
			q.operations(p.Collector)
		}
	}
	if err := p.Err(); err != nil {
		return q.spoiled(err.Error())
	}
	if q.unresolved != nil {
		return unavailable(q.unresolved)
	}
	if verbs := q.verbs; verbs > 0 {
		q.outcome = q.discarded(c)
		q.verbs = verbs
		for range verbs {
			q.count(q.grant.project, string(schema.IdentityVerb))
		}
	}
	q.takeAsked()
	q.moveLinks()
	return nil
}

// spoiled refuses a body that is not JSON: none of its records counts, and the
// client learns it by /import's status, or by the answer 0.
func (q *request) spoiled(detail string) *failure {
	q.outcome = q.discarded(q.collector)
	q.problem = detail
	q.count(nil, string(schema.InvalidJSON))
	if q.endpoint == imports {
		q.collector.counts.add(q.tally)
		return notJSON(detail)
	}
	if len(q.text) > 0 {
		q.rejects = append(q.rejects, Reject{Endpoint: q.endpoint, Reason: schema.InvalidJSON, Detail: detail, Record: q.text})
	}
	return nil
}

func refused(reason schema.Reason, field, detail string) *schema.Refused {
	return &schema.Refused{Rejection: schema.Rejection{Reason: reason, Detail: detail}, Field: field}
}

// projectOf is the project that a record is for, or why there is none.
func (q *request) projectOf(token []byte) (*Project, schema.Reason) {
	if q.grant.project != nil {
		return q.grant.project, ""
	}
	switch p, known := q.named(token); {
	case !known:
		return nil, UnknownToken
	case p == nil:
		return nil, NoToken
	default:
		return p, ""
	}
}

// tokenOf decodes the value of a token.
func tokenOf(p *schema.Collector, value []byte) []byte {
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return value[1 : n-1]
	}
	return []byte(p.Text(value))
}
