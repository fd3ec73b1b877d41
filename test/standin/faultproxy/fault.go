package faultproxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Fault breaks one request. The functions below return faults; several rules may
// share one.
type Fault struct {
	name string
	do   func(x *exchange)
}

// Answer reads the request and answers it; the server does not see it. The
// answer has the given header, which may be nil, and a Content-Type that follows
// from the body unless the header has one.
func Answer(status int, header http.Header, body string) Fault {
	return Fault{fmt.Sprintf("answer %d", status), func(x *exchange) { x.refuse(status, header, body) }}
}

// Delay forwards the request after d.
func Delay(d time.Duration) Fault {
	return Fault{"delay " + d.String(), func(x *exchange) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		passAfter(x, timer.C)
	}}
}

// Hold forwards the request when release is closed. A test uses it in place of
// Delay to act while the request is under way: see Await.
func Hold(release <-chan struct{}) Fault {
	return Fault{"hold", func(x *exchange) { passAfter(x, release) }}
}

// HoldOne is Hold for one request, and sends to held when the request has arrived.
// A test that has to know of the nth request uses it in place of Await.
func HoldOne(held chan<- struct{}, release <-chan struct{}) Fault {
	return Fault{"hold one", func(x *exchange) {
		held <- struct{}{}
		passAfter(x, release)
	}}
}

// Hang never forwards the request, and never answers it.
func Hang() Fault { return Hold(nil) }

// CutBefore cuts the connection before the server sees anything of the request.
func CutBefore() Fault { return Fault{"cut before", func(x *exchange) { x.cut() }} }

// LoseAnswer has the server carry the request out, and cuts the connection
// instead of answering: the client cannot know whether it was carried out.
func LoseAnswer() Fault {
	return Fault{"lose answer", func(x *exchange) {
		if answer, err := x.carryOut(); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body) // it is lost anyway
			_ = answer.Body.Close()
		}
		x.cut()
	}}
}

// CutBody sends the server the request's head and the first n bytes of its body,
// and then cuts both connections. The body must be longer.
func CutBody(n int64) Fault {
	return Fault{fmt.Sprintf("cut body after %d bytes", n), func(x *exchange) {
		if x.r.ContentLength >= 0 && x.r.ContentLength <= n {
			x.proxy.t.Errorf("%s has a body of %d bytes: it cannot be cut after %d", x.record, x.r.ContentLength, n)
		}
		answer, err := x.send(io.MultiReader(io.LimitReader(x.body, n), failing{errCut}), x.proxy.direct)
		if err == nil {
			_ = answer.Body.Close() // a server may answer before it has the body
		}
		x.cut()
	}}
}

var errCut = errors.New("the connection is cut")

// CutAnswer has the server carry the request out, sends the client the head of
// the answer and the first n bytes of its body, and then ends the connection.
func CutAnswer(n int64) Fault {
	return Fault{fmt.Sprintf("cut answer after %d bytes", n), func(x *exchange) {
		answer, err := x.carryOut()
		if err != nil {
			x.cut()
			return
		}
		x.relay(answer, n)
	}}
}

// Expire makes the credentials of the request expire: it and each later request
// with the same ones gets this answer, whatever rules say, until the client
// uses others. Credentials are an access key and session token of AWS, a
// bearer or other token in the Authorization header, or the signature of a
// shared access URL. The keys that sign requests to Azure do not expire.
func Expire(status int, header http.Header, body string) Fault {
	return Fault{"expire", func(x *exchange) {
		x.proxy.mu.Lock()
		x.proxy.expired[credentials(x.r)] = func(x *exchange) { x.refuse(status, header, body) }
		x.proxy.mu.Unlock()
		x.refuse(status, header, body)
	}}
}

// Renew ends the expiry of credentials that Expire has begun, as an operator does
// who renews them at the service.
func (p *Proxy) Renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.expired)
}

// credentials identifies the credentials of a request. All requests without any
// have the same.
func credentials(r *http.Request) string {
	authorization, query := r.Header.Get("Authorization"), r.URL.Query()
	if _, scope, ok := strings.Cut(authorization, "Credential="); ok && strings.HasPrefix(authorization, "AWS4-") {
		authorization, _, _ = strings.Cut(scope, "/") // the rest changes with each request
	}
	presigned, _, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	return strings.Join([]string{
		authorization, r.Header.Get("X-Amz-Security-Token"), presigned, query.Get("X-Amz-Security-Token"), query.Get("sig"),
	}, "\x00")
}

// refuse answers in the server's place, when the whole request has arrived: a
// client that is still writing may miss an answer.
func (x *exchange) refuse(status int, header http.Header, body string) {
	_, _ = io.Copy(io.Discard, x.body)
	for name, values := range header {
		x.w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	x.answered(status)
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, body)
	}
}

// passAfter forwards the request once begin is ready, unless the client or the
// test ends before.
func passAfter[T any](x *exchange, begin <-chan T) {
	select {
	case <-begin:
		x.pass()
	case <-x.r.Context().Done():
		x.cut()
	case <-x.proxy.t.Context().Done():
		x.cut()
	}
}
