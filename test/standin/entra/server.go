package entra

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Names of the only tenant and application.
const (
	Tenant   = "acme.onmicrosoft.com"
	ClientID = "11111111-2222-3333-4444-555555555555"
	Secret   = "s3cret~value.of-the-application"
	// Assertion is the service account token of the application's federated
	// credential.
	Assertion = "eyJhbGciOiJub25lIn0.service-account.token"
)

const (
	resource = "https://storage.azure.com"
	lifetime = time.Hour
)

// Server is one Entra ID. It stops when the test ends. Its methods may be used
// concurrently.
type Server struct {
	// URL is the authority's, https://127.0.0.1:port.
	URL string
	// Certificate is the server's own, DER.
	Certificate []byte
	// IdentityEndpoint and IdentityHeader are the variables IDENTITY_ENDPOINT and
	// IDENTITY_HEADER of a machine with a managed identity.
	IdentityEndpoint, IdentityHeader string

	mu      sync.Mutex // guards the fields below
	refusal *refusal
	issued  int
	asked   int
}

type refusal struct {
	status int
	body   string
}

// Start starts a server.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{IdentityHeader: "identity-header"}
	authority := httptest.NewTLSServer(http.HandlerFunc(s.authority))
	machine := httptest.NewServer(http.HandlerFunc(s.identity))
	t.Cleanup(authority.Close)
	t.Cleanup(machine.Close)
	s.URL, s.IdentityEndpoint = authority.URL, machine.URL+"/msi/token"
	s.Certificate = authority.Certificate().Raw
	return s
}

// Refuse makes the server answer requests for tokens with an error.
func (s *Server) Refuse(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = &refusal{status, body}
}

// Issued returns the number of tokens that were handed out, and of the requests for
// one.
func (s *Server) Issued() (issued, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued, s.asked
}

func (s *Server) authority(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case rest == "v2.0/.well-known/openid-configuration" && tenant == Tenant:
		answer(w, http.StatusOK, map[string]any{
			"authorization_endpoint": s.URL + "/" + tenant + "/oauth2/v2.0/authorize",
			"token_endpoint":         s.URL + "/" + tenant + "/oauth2/v2.0/token",
			"issuer":                 s.URL + "/" + tenant + "/v2.0",
		})
	case rest == "v2.0/.well-known/openid-configuration":
		refuse(w, http.StatusBadRequest, "invalid_tenant", 90002, "Tenant '"+tenant+"' not found.")
	case rest == "oauth2/v2.0/token" && r.Method == http.MethodPost:
		s.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if s.refused(w) {
		return
	}
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" {
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
		return
	}
	if code, text := judge(r.PostForm); code != 0 {
		refuse(w, http.StatusUnauthorized, "invalid_client", code, text)
		return
	}
	answer(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "access_token": s.issue()})
}

// judge returns the number and text of the refusal of a request; 0: it is granted.
func judge(form url.Values) (int, string) {
	scope, _, _ := strings.Cut(form.Get("scope"), " ")
	switch {
	case form.Get("client_id") != ClientID:
		return 700016, "Application with identifier '" + form.Get("client_id") + "' was not found in the directory 'Acme'."
	case scope != resource+"/.default":
		return 500011, "The resource principal named " + scope + " was not found in the tenant named Acme."
	case form.Has("client_assertion") && form.Get("client_assertion") != Assertion:
		return 700213, "No matching federated identity record found for presented assertion subject."
	case !form.Has("client_assertion") && form.Get("client_secret") != Secret:
		return 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + ClientID + "'."
	}
	return 0, ""
}

// identity is the identity service of a machine.
func (s *Server) identity(w http.ResponseWriter, r *http.Request) {
	if s.refused(w) {
		return
	}
	q := r.URL.Query()
	switch {
	case r.Header.Get("X-Identity-Header") != s.IdentityHeader:
		answer(w, http.StatusUnauthorized, map[string]any{"statusCode": 401, "message": "Invalid header"})
	case q.Get("client_id") != "" && q.Get("client_id") != ClientID:
		answer(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."})
	case strings.TrimSuffix(q.Get("resource"), "/") != resource:
		answer(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "Invalid resource"})
	default:
		answer(w, http.StatusOK, map[string]any{
			"token_type": "Bearer", "resource": resource, "access_token": s.issue(),
			"expires_on": strconv.FormatInt(time.Now().Add(lifetime).Unix(), 10),
		})
	}
}

// refused answers the request if the server was told to refuse.
func (s *Server) refused(w http.ResponseWriter) bool {
	s.mu.Lock()
	s.asked++
	r := s.refusal
	s.mu.Unlock()
	if r == nil {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = fmt.Fprint(w, r.body)
	return true
}

// issue makes a token. No two are equal.
func (s *Server) issue() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{
		"aud": resource, "iss": "https://sts.windows.net/" + Tenant + "/", "appid": ClientID, "jti": s.issued,
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(lifetime).Unix(),
	})
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(claims) + "." + encode([]byte("unsigned"))
}

// Refusal is the body of an answer of Entra ID with the number of an error.
func Refusal(code int, text string) string {
	body, _ := json.Marshal(map[string]any{
		"error": "invalid_client", "error_codes": []int{code},
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: 0a0a Correlation ID: 0b0b Timestamp: 2026-11-28 10:00:00Z", code, text),
	})
	return string(body)
}

func refuse(w http.ResponseWriter, status int, kind string, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, strings.Replace(Refusal(code, text), "invalid_client", kind, 1))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
