package faultproxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// exchange is one request on its way through the proxy.
type exchange struct {
	proxy  *Proxy
	w      http.ResponseWriter
	r      *http.Request
	body   io.Reader // the request's, from its first byte
	text   []byte    // the beginning of the body, decompressed, after readAhead
	record *Request  // the proxy's lock guards it
}

// matchedBody is how many bytes of a body can be matched and are kept.
const matchedBody = 1 << 20

// readAhead reads the beginning of the body, which is still forwarded.
func (x *exchange) readAhead() {
	begin, err := io.ReadAll(io.LimitReader(x.r.Body, matchedBody))
	rest := io.Reader(x.r.Body)
	if err != nil {
		rest = failing{err}
	}
	x.body = io.MultiReader(bytes.NewReader(begin), rest)
	x.text = inflate(begin, x.r.Header.Get("Content-Encoding"))
}

// failing is a body that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// pass forwards the request and the whole answer.
func (x *exchange) pass() {
	answer, err := x.send(x.body, x.proxy.transport)
	if err != nil {
		x.cut()
		return
	}
	x.relay(answer, whole)
}

// hopByHop are headers that are about one connection, not about the request.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"}

// send sends the request to the server with the given body, and returns the
// answer, whose body the caller closes.
func (x *exchange) send(body io.Reader, transport *http.Transport) (*http.Response, error) {
	out := x.r.Clone(x.r.Context())
	out.URL = &url.URL{Scheme: x.proxy.target.Scheme, Host: x.proxy.target.Host, RawQuery: x.r.URL.RawQuery, ForceQuery: x.r.URL.ForceQuery}
	// The path goes as it was written: signatures are over its escapes.
	if path, _, _ := strings.Cut(x.r.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		out.URL.Opaque = path
	} else {
		out.URL.Path, out.URL.RawPath = x.r.URL.Path, x.r.URL.RawPath
	}
	out.Body, out.Trailer = nil, x.r.Trailer // trailers are filled in when the body has been read
	if x.r.ContentLength != 0 {
		out.Body = io.NopCloser(body)
	}
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header["User-Agent"] = nil // none is added
	}
	return transport.RoundTrip(out)
}

// carryOut has the server carry the request out before its answer is broken.
// Without an answer there is nothing to break, and the test fails.
func (x *exchange) carryOut() (*http.Response, error) {
	answer, err := x.send(x.body, x.proxy.transport)
	if err != nil && x.r.Context().Err() == nil {
		x.proxy.t.Errorf("%s was not carried out before the fault %q: %v", x.record, x.record.Fault, err)
	}
	return answer, err
}

// whole is the limit of relay that cuts nothing.
const whole = -1

// relay sends the answer to the client: all of it, or its head and limit bytes
// of its body, after which the connection ends.
func (x *exchange) relay(answer *http.Response, limit int64) {
	defer func() { _ = answer.Body.Close() }()
	header := x.w.Header()
	header["Date"] = nil // none is added
	for name, values := range answer.Header {
		header[name] = values
	}
	for _, name := range hopByHop {
		header.Del(name)
	}
	for name := range answer.Trailer {
		header.Add("Trailer", name)
	}
	x.answered(answer.StatusCode)
	x.w.WriteHeader(answer.StatusCode)
	body := io.Reader(answer.Body)
	if limit >= 0 {
		body = io.LimitReader(body, limit)
	}
	_, err := io.Copy(flushing{x.w}, body)
	if err != nil || limit >= 0 {
		_ = http.NewResponseController(x.w).Flush() // the head, if no body came
		x.close(false)
		return
	}
	for name, values := range answer.Trailer {
		header[name] = values
	}
}

// flushing writes each piece of a body and flushes it, so that the client gets
// every byte before a cut.
type flushing struct{ w http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

// answered records the status that the client is about to be sent.
func (x *exchange) answered(status int) {
	x.proxy.mu.Lock()
	defer x.proxy.mu.Unlock()
	x.record.Status, x.record.Trailer = status, x.r.Trailer.Clone()
}

// cut resets the client's connection.
func (x *exchange) cut() { x.close(true) }

// close ends the client's connection in the middle of the exchange: by a reset,
// which also drops bytes that the client has not read yet, or in order.
func (x *exchange) close(reset bool) {
	connection, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the server closes it
	}
	if t, ok := connection.(*tls.Conn); ok {
		connection = t.NetConn()
	}
	if tcp, ok := connection.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
