package collector

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
)

const (
	jsonType  = "application/json"
	plainType = "text/plain; charset=utf-8"
)

// pixel is a transparent GIF of 1×1.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00" +
	"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b"

// write answers with a body.
func write(w http.ResponseWriter, status int, contentType, body string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that is gone learns nothing.
	_, _ = w.Write([]byte(body))
}

// write answers with a body, and counts the answer; reason is why the request is
// refused, or "".
func (q *request) write(status int, reason, contentType, body string) {
	q.collector.counts.answered(q.endpoint, status, reason)
	write(q.w, status, contentType, body)
}

// contract reports whether /import answers with its JSON contract: to bodies of
// JSON, and to all that set strict; but text to those that set it to 0 and do
// not ask for more.
func (q *request) contract() bool {
	return q.endpoint == imports && (q.json || q.seenRule) && (q.strict || !q.seenRule || q.verbose)
}

// reply answers a request whose records are stored.
func (q *request) reply() {
	if q.verbs > 0 || q.contract() {
		q.replyImport()
		return
	}
	status, problem := 0, &q.problem
	if q.good > 0 {
		status, problem = 1, nil
	} else if q.problem == "" {
		q.problem = "there are no records"
	}
	contentType, body := plainType, strconv.Itoa(status)
	if q.verbose {
		contentType = jsonType
		body = encode(struct {
			Status int     `json:"status"`
			Error  *string `json:"error"`
		}{status, problem})
	}
	switch {
	case q.redirect != "":
		q.w.Header().Set("Location", q.redirect)
		q.write(http.StatusFound, "", contentType, body)
	case q.img:
		q.write(http.StatusOK, "", "image/gif", pixel)
	case q.callback != "":
		q.write(http.StatusOK, "", "text/javascript; charset=utf-8", q.callback+"("+body+")")
	default:
		q.write(http.StatusOK, "", contentType, body)
	}
}

// replyImport answers by /import's contract.
func (q *request) replyImport() {
	type answer struct {
		Code     int    `json:"code"`
		Error    string `json:"error,omitempty"`
		Failed   any    `json:"failed_records,omitempty"`
		Imported int    `json:"num_records_imported"`
		Status   string `json:"status"`
	}
	const invalid = "some data points in the request failed validation"
	a, reason := answer{Code: http.StatusOK, Imported: q.good, Status: "OK"}, ""
	switch {
	case q.verbs > 0:
		texts := make([]string, q.verbs)
		for i := range texts {
			texts[i] = verbProblem
		}
		a = answer{Code: http.StatusBadRequest, Error: invalid, Failed: texts, Status: "Bad Request"}
		reason = string(schema.IdentityVerb)
	case len(q.failed) > 0:
		a = answer{Code: http.StatusBadRequest, Error: invalid, Failed: q.failed, Imported: q.good, Status: "Bad Request"}
		reason = invalidRecords
	}
	if reason != "" {
		q.collector.complaints.add(q.received, q.endpoint, "", &failure{status: a.Code, reason: reason, message: invalid + ": " + cmp.Or(q.problem, verbProblem)})
	}
	q.write(a.Code, reason, jsonType, encode(a))
}

const verbProblem = "identity events are not allowed when project is using simplified identity management"

// fail answers a request that is refused as a whole.
func (q *request) fail(f *failure) {
	q.collector.complaints.add(q.received, q.endpoint, "", f)
	if f.retry > 0 {
		q.w.Header().Set("Retry-After", strconv.Itoa(int(f.retry.Seconds())))
	}
	body := f.text()
	if q.endpoint == imports {
		body = encode(struct {
			Code   int    `json:"code"`
			Error  string `json:"error"`
			Status string `json:"status"`
		}{f.status, f.message, http.StatusText(f.status)})
	}
	if !q.unread {
		q.write(f.status, f.reason, jsonType, body)
		return
	}
	q.failEarly(f, body)
}

// drainTime is how long a client may go on sending a body that was refused.
const drainTime = 10 * time.Second

// failEarly answers before the body is complete, and then discards the rest of it:
// some clients look at the answer only when they have sent all. The
// connection is closed afterwards.
func (q *request) failEarly(f *failure, body string) {
	control := http.NewResponseController(q.w)
	// Otherwise the answer would wait for the body.
	_ = control.EnableFullDuplex()
	q.w.Header().Set("Connection", "close")
	q.write(f.status, f.reason, jsonType, body)
	_ = control.Flush()
	if f == errTimeout || f == errIncomplete {
		return // nothing more comes
	}
	_, _ = io.CopyN(io.Discard, newPace(q.w, q.r, &q.collector.o, drainTime), 2*q.settings.maxBody)
}

// text is the body of the answer.
func (f *failure) text() string {
	return encode(struct {
		Error  string `json:"error"`
		Status string `json:"status"`
	}{f.message, "error"})
}

// encode renders an answer as clients expect it: without escapes for HTML,
// without a newline.
func encode(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "{}" // there is nothing in answers that fails
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// isFunction reports whether text names a function, as scripts that load answers
// do: names behind dots, and numbers in brackets.
func isFunction(text string) bool {
	if len(text) > maxCallback {
		return false
	}
	for i := 0; ; {
		n := 0
		for ; i < len(text) && (letter(text[i]) || n > 0 && text[i]-'0' <= 9); i++ {
			n++
		}
		if n == 0 {
			return false
		}
		for i < len(text) && text[i] == '[' {
			digits := 0
			for i++; i < len(text) && text[i]-'0' <= 9; i++ {
				digits++
			}
			if digits == 0 || i == len(text) || text[i] != ']' {
				return false
			}
			i++
		}
		if i == len(text) {
			return true
		}
		if text[i] != '.' {
			return false
		}
		i++
	}
}

func letter(c byte) bool { return c|0x20-'a' < 26 || c == '_' || c == '$' }

// origins are those of URLs.
func origins(list []string) map[string]bool {
	found := map[string]bool{}
	for _, text := range list {
		if u, err := url.Parse(text); err == nil {
			found[origin(u)] = true
		}
	}
	return found
}

// origin is scheme://host, with :port where it is not the scheme's; "" when u
// has none.
func origin(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if scheme != "http" && scheme != "https" || host == "" {
		return ""
	}
	if port := u.Port(); scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host
}

// allowOrigin lets scripts of an allowed origin read the answer.
func (c *Collector) allowOrigin(h http.Header, r *http.Request) {
	sent, cors := r.Header.Get("Origin"), c.settings.Load().cors
	if len(cors) == 0 || sent == "" {
		return
	}
	h.Add("Vary", "Origin")
	if u, err := url.Parse(sent); err == nil && u.Path == "" && cors[origin(u)] {
		h.Set("Access-Control-Allow-Origin", sent)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// maxAsked is the most bytes of header names that a script may ask for.
const maxAsked = 1 << 10

// preflight answers the request by which a browser asks whether it may send.
func preflight(h http.Header, r *http.Request) {
	h.Set("Allow", "GET, POST, OPTIONS")
	if h.Get("Access-Control-Allow-Origin") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Max-Age", "86400")
	if asked := r.Header.Get("Access-Control-Request-Headers"); len(asked) <= maxAsked && headerNames(asked) {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

// headerNames reports whether text is a list of names of headers.
func headerNames(text string) bool {
	for i := range len(text) {
		if c := text[i]; c|0x20-'a' > 25 && c-'0' > 9 && !strings.ContainsRune("-_, ", rune(c)) {
			return false
		}
	}
	return text != ""
}
