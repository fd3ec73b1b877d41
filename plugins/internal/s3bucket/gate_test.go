package s3bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/penstock-io/penstock/test/standin"
)

// gate is a proxy in front of the S3 server. It records all requests, refuses
// those that refuse selects, and accepts the sessions of a fake STS.
type gate struct {
	URL string

	mu       sync.Mutex // held while refuse and lose are called
	requests []*http.Request
	refuse   func(n int, r *http.Request) (status int, code string)
	message  string // of the answer to refused requests
	// lose drops the answer to a request that it carries out.
	lose     func(*http.Request) bool
	sessions *fakeSTS
	// Certificate of a gate with TLS, DER.
	Certificate []byte
}

func startGate(t *testing.T, s *standin.S3) *gate {
	t.Helper()
	return startGateAt(t, s, "", false)
}

// startGateAt starts a gate below a path, and with TLS.
func startGateAt(t *testing.T, s *standin.S3, path string, secure bool) *gate {
	t.Helper()
	g := &gate{message: "said by the gate"}
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		r.Out.Host = r.In.Host // it is signed
		if path != "" {
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, path)
			r.Out.URL.RawPath = ""
			r.Out.Host = to.Host
		}
		if g.sessions != nil || path != "" {
			r.Out.Header.Del("X-Amz-Security-Token")
			resign(t, r.Out, aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, "s3")
		}
	}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path+"/") {
			t.Errorf("%s %s is not below %s", r.Method, r.URL, path)
		}
		if status, code := g.judge(r); status != 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, g.message)
			return
		}
		if g.loses(r) {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // closes the connection
		}
		proxy.ServeHTTP(w, r)
	}))
	if secure {
		server.StartTLS()
		g.Certificate = server.Certificate().Raw
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	g.URL = server.URL + path
	return g
}

func (g *gate) judge(r *http.Request) (int, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = append(g.requests, r.Clone(context.WithoutCancel(r.Context())))
	if g.refuse != nil {
		if status, code := g.refuse(len(g.requests), r); status != 0 {
			return status, code
		}
	}
	if g.sessions != nil {
		return g.sessions.judge(r)
	}
	return 0, ""
}

func (g *gate) loses(r *http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lose != nil && g.lose(r)
}

func (g *gate) seen(match func(*http.Request) bool) []*http.Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []*http.Request
	for _, r := range g.requests {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}

// resign signs a request in place of the signature that it has.
func resign(t *testing.T, r *http.Request, c aws.Credentials, service string) {
	hash := r.Header.Get("X-Amz-Content-Sha256")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Errorf("request without a date: %v", err)
		return
	}
	r.Header.Del("Authorization")
	for name := range r.Header { // headers that the proxy adds are not signed
		if strings.HasPrefix(name, "X-Forwarded") || name == "Accept-Encoding" || name == "User-Agent" {
			r.Header.Del(name)
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err := signer.SignHTTP(r.Context(), c, r, hash, service, "us-east-1", at); err != nil {
		t.Errorf("sign again: %v", err)
	}
}

// fakeSTS is AssumeRole at the wire. It refuses, as STS does, a caller whose
// signature is wrong and a role or external id that the trust policy does not
// name.
type fakeSTS struct {
	URL        string
	RoleARN    string
	ExternalID string
	Caller     aws.Credentials
	// Lifetime of the sessions it hands out.
	Lifetime time.Duration
	// fault makes it answer with this status and code; -1: it cuts the connection.
	fault int
	code  string
	stop  func()

	mu       sync.Mutex
	sessions map[string]session // by access key
}

type session struct {
	token   string
	expires time.Time
	used    int
}

func startSTS(t *testing.T) *fakeSTS {
	t.Helper()
	f := &fakeSTS{
		RoleARN: "arn:aws:iam::123456789012:role/export", ExternalID: "project-token",
		Caller:   aws.Credentials{AccessKeyID: "AKIDCALLER", SecretAccessKey: "caller-secret"},
		Lifetime: time.Hour, sessions: make(map[string]session),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(t, w, r) }))
	t.Cleanup(server.Close)
	f.URL, f.stop = server.URL, server.Close
	return f
}

func (f *fakeSTS) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("read the STS request: %v", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Errorf("STS form: %v", err)
	}
	fail := func(status int, code, message string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
	}
	switch {
	case f.fault < 0:
		panic(http.ErrAbortHandler)
	case f.fault > 0:
		fail(f.fault, f.code, "try again")
	case !f.signed(t, r, body):
		fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	case form.Get("Action") != "AssumeRole" || form.Get("Version") != "2011-06-15":
		fail(http.StatusBadRequest, "InvalidAction", "Could not find operation")
	case form.Get("RoleSessionName") == "" || len(form.Get("RoleSessionName")) > 64:
		fail(http.StatusBadRequest, "ValidationError", "roleSessionName failed to satisfy constraint")
	case form.Get("RoleArn") != f.RoleARN || form.Get("ExternalId") != f.ExternalID:
		fail(http.StatusForbidden, "AccessDenied", "User: arn:aws:iam::123456789012:user/caller is not authorized to perform: sts:AssumeRole on resource: "+form.Get("RoleArn"))
	default:
		f.grant(w)
	}
}

// signed computes the signature over the headers that the caller signed.
func (f *fakeSTS) signed(t *testing.T, r *http.Request, body []byte) bool {
	auth := r.Header.Get("Authorization")
	if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential="+f.Caller.AccessKeyID+"/") {
		return false
	}
	_, list, _ := strings.Cut(auth, "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return false
	}
	for name := range strings.SplitSeq(list, ";") {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return false
	}
	if err := v4.NewSigner().SignHTTP(r.Context(), f.Caller, again, hex.EncodeToString(sum[:]), "sts", "us-east-1", at); err != nil {
		t.Errorf("sign: %v", err)
	}
	return again.Header.Get("Authorization") == auth
}

func (f *fakeSTS) grant(w http.ResponseWriter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, s := "ASIA"+rand.Text()[:16], session{token: rand.Text(), expires: time.Now().Add(f.Lifetime)}
	f.sessions[key] = s
	type credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	type result struct{ Credentials credentials }
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName          xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		AssumeRoleResult result
	}{AssumeRoleResult: result{credentials{key, "session-secret", s.token, s.expires.UTC().Format(time.RFC3339Nano)}}})
}

// judge returns S3's answer to a request that is signed with a session.
func (f *fakeSTS) judge(r *http.Request) (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ = strings.Cut(key, "/")
	s, ok := f.sessions[key]
	switch {
	case !ok:
		return http.StatusForbidden, "InvalidAccessKeyId"
	case r.Header.Get("X-Amz-Security-Token") != s.token:
		return http.StatusForbidden, "InvalidToken"
	case time.Now().After(s.expires):
		return http.StatusBadRequest, "ExpiredToken"
	}
	s.used++
	f.sessions[key] = s
	return 0, ""
}

func (f *fakeSTS) granted() map[string]session {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sessions)
}
