package awsserver

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxSkew is the largest difference between the clocks of a caller and of a
// service.
const maxSkew = 15 * time.Minute

// STS hands out the sessions of roles to one caller.
type STS struct {
	URL string
	// Caller may assume roles.
	Caller aws.Credentials
	// Lifetime of sessions.
	Lifetime time.Duration

	now func() time.Time

	mu       sync.Mutex        // guards all below
	roles    map[string]string // ARN → external id; empty: none is demanded
	sessions map[string]*Session
}

// Session is a session that was handed out.
type Session struct {
	Role    string
	Secret  string
	Token   string
	Expires time.Time
	Used    int // requests
}

// StartSTS starts a server. now is its clock; the one of signatures is the
// caller's.
func StartSTS(t testing.TB, now func() time.Time) *STS {
	t.Helper()
	s := &STS{
		Caller:   aws.Credentials{AccessKeyID: "AKIDCALLER", SecretAccessKey: "caller-secret"},
		Lifetime: time.Hour, now: now, roles: map[string]string{}, sessions: map[string]*Session{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Trust lets the caller assume a role. externalID is the one that the role's trust
// policy demands; empty: none.
func (s *STS) Trust(role, externalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[role] = externalID
}

// Sessions returns the sessions so far by access key.
func (s *STS) Sessions() map[string]Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]Session)
	for key, one := range maps.All(s.sessions) {
		found[key] = *one
	}
	return found
}

// ServeHTTP answers AssumeRole.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	key, session, refused := s.assume(r, body)
	w.Header().Set("Content-Type", "text/xml")
	if refused != nil {
		w.WriteHeader(max(refused.Status, http.StatusBadRequest))
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Error   struct{ Type, Code, Message string }
		}{Error: struct{ Type, Code, Message string }{"Sender", refused.Code, refused.Message}})
		return
	}
	type credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName          xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		AssumeRoleResult struct{ Credentials credentials }
	}{AssumeRoleResult: struct{ Credentials credentials }{credentials{key, session.Secret, session.Token, session.Expires.UTC().Format(time.RFC3339Nano)}}})
}

func (s *STS) assume(r *http.Request, body []byte) (key string, session Session, refused *Refusal) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", Session{}, refuse("MalformedQueryString", "%v", err)
	}
	access, region := credentialOf(r)
	if access != s.Caller.AccessKeyID {
		return "", Session{}, &Refusal{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	}
	if refused := s.signed(r, body, s.Caller, "sts", region); refused != nil {
		return "", Session{}, refused
	}
	name, role := form.Get("RoleSessionName"), form.Get("RoleArn")
	switch {
	case form.Get("Action") != "AssumeRole" || form.Get("Version") != "2011-06-15":
		return "", Session{}, refuse("InvalidAction", "Could not find operation %s for version %s", form.Get("Action"), form.Get("Version"))
	case len(name) < 2 || len(name) > 64:
		return "", Session{}, refuse("ValidationError", "1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if external, ok := s.roles[role]; !ok || external != "" && external != form.Get("ExternalId") {
		return "", Session{}, &Refusal{
			http.StatusForbidden, "AccessDenied",
			fmt.Sprintf("User: arn:aws:iam::123456789012:user/caller is not authorized to perform: sts:AssumeRole on resource: %s", role),
		}
	}
	key = "ASIA" + rand.Text()[:16]
	session = Session{Role: role, Secret: rand.Text(), Token: rand.Text(), Expires: s.now().Add(s.Lifetime)}
	s.sessions[key] = &session
	return key, session, nil
}

// credentialOf returns the access key and the region of a request's signature.
func credentialOf(r *http.Request) (key, region string) {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	if fields := strings.Split(scope, "/"); len(fields) == 5 {
		return fields[0], fields[2]
	}
	return "", ""
}

// verify returns the role of the session that a request is signed with, for a
// service in a region.
func (s *STS) verify(r *http.Request, body []byte, service, region string) (role string, err error) {
	key, _ := credentialOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.sessions[key]
	switch {
	case key == "":
		return "", &Refusal{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	case session == nil || r.Header.Get("X-Amz-Security-Token") != session.Token:
		return "", &Refusal{http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid."}
	case s.now().After(session.Expires):
		return "", &Refusal{http.StatusForbidden, "ExpiredTokenException", "The security token included in the request is expired"}
	}
	c := aws.Credentials{AccessKeyID: key, SecretAccessKey: session.Secret, SessionToken: session.Token}
	if refused := s.signed(r, body, c, service, region); refused != nil {
		refused.Code = strings.Replace(refused.Code, "SignatureDoesNotMatch", "InvalidSignatureException", 1)
		return "", refused
	}
	session.Used++
	return session.Role, nil
}

// signed refuses a request whose signature, over the headers that the caller has
// signed, is not that of the credentials.
func (s *STS) signed(r *http.Request, body []byte, c aws.Credentials, service, region string) *Refusal {
	wrong := &Refusal{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || s.now().Sub(at).Abs() > maxSkew {
		wrong.Message = "Signature expired: " + r.Header.Get("X-Amz-Date")
		return wrong
	}
	auth := r.Header.Get("Authorization")
	_, list, _ := strings.Cut(auth, "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return wrong
	}
	for name := range strings.SplitSeq(list, ";") {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(r.Context(), c, again, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		return wrong
	}
	if again.Header.Get("Authorization") != auth {
		return wrong
	}
	return nil
}
