package gcptoken

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
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

const platformScope = "https://www.googleapis.com/auth/cloud-platform"

// Server hands out tokens to one service account, Account, and to those that it
// may act as. It stops when the test ends. Its methods may be used concurrently.
type Server struct {
	// URL of the server; the key file names it as the token endpoint.
	URL string
	// Account is the e-mail address of the key's account.
	Account string

	key *rsa.PrivateKey

	mu     sync.Mutex // guards the fields below
	grants map[string]bool
	issued map[string]Token
}

// Token is an access token that the server has handed out.
type Token struct {
	Account string
	Scopes  []string
	Expires time.Time
}

// Start starts a server.
func Start(t testing.TB) *Server {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Account: "export@acme.iam.gserviceaccount.com", key: key, grants: map[string]bool{}, issued: map[string]Token{}}
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.URL = listening.URL
	return s
}

// Grant lets Account act as another account.
func (s *Server) Grant(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[account] = true
}

// KeyFile returns the content of the account's key file.
func (s *Server) KeyFile() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return "", err
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme", "private_key_id": "k", "client_id": "1",
		"client_email": s.Account, "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	return string(file), err
}

// Issued returns a token that was handed out and has not expired.
func (s *Server) Issued(token string) (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.issued[token]
	return t, ok && time.Now().Before(t.Expires)
}

// Count returns the number of tokens that an account was given.
func (s *Server) Count(account string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.issued {
		if t.Account == account {
			n++
		}
	}
	return n
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account, acting := strings.CutPrefix(r.URL.Path, "/v1/projects/-/serviceAccounts/")
	account, acting2 := strings.CutSuffix(account, ":generateAccessToken")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/token":
		s.exchange(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/tokeninfo":
		s.describe(w, r)
	case r.Method == http.MethodPost && acting && acting2:
		s.impersonate(w, r, account)
	default:
		http.Error(w, "the stand-in does not know "+r.Method+" "+r.URL.Path, http.StatusNotImplemented)
	}
}

// exchange takes an assertion that the key has signed.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	refuse := func(code, description string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
	}
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("unsupported_grant_type", "Invalid grant_type: "+r.PostForm.Get("grant_type"))
		return
	}
	scopes, err := s.verify(r.PostForm.Get("assertion"))
	if err != nil {
		refuse("invalid_grant", err.Error())
		return
	}
	token := s.issue(s.Account, scopes, time.Hour)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
}

// verify returns the scopes of an assertion.
func (s *Server) verify(assertion string) ([]string, error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil, errors.New("Invalid JWT: it has not three parts")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return nil, errors.New("Invalid JWT Signature.")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	now := time.Now().Unix()
	switch {
	case err != nil:
		return nil, fmt.Errorf("Invalid JWT: %w", err)
	case claims.Iss != s.Account || claims.Aud != s.URL+"/token":
		return nil, errors.New("Invalid JWT: Failed audience check")
	case claims.Iat > now+60 || claims.Exp < now || claims.Exp > claims.Iat+3600+60:
		return nil, errors.New("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
	case claims.Scope == "":
		return nil, errors.New("Missing required parameter: scope")
	}
	return strings.Fields(claims.Scope), nil
}

// impersonate hands out a token of another account.
func (s *Server) impersonate(w http.ResponseWriter, r *http.Request, account string) {
	refuse := func(code int, status, message string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message, "status": status}})
	}
	if unescaped, err := url.PathUnescape(account); err == nil {
		account = unescaped
	}
	caller, ok := s.Issued(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	var request struct {
		Scope    []string `json:"scope"`
		Lifetime string   `json:"lifetime"`
	}
	err := json.NewDecoder(r.Body).Decode(&request)
	s.mu.Lock()
	granted := s.grants[account]
	s.mu.Unlock()
	switch {
	case !ok:
		refuse(http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
		return
	case strings.Join(caller.Scopes, " ") != platformScope:
		refuse(http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
		return
	case !granted:
		refuse(http.StatusForbidden, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).")
		return
	case err != nil || len(request.Scope) == 0:
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT", "scope is required")
		return
	}
	token := s.issue(account, request.Scope, time.Hour)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"accessToken": token, "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	})
}

// describe answers a service that has received a token.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	t, ok := s.Issued(r.URL.Query().Get("access_token"))
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_token", "error_description": "Invalid Value"})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{
		"email": t.Account, "scope": strings.Join(t.Scopes, " "), "expires_in": strconv.Itoa(int(time.Until(t.Expires).Seconds())),
	})
}

func (s *Server) issue(account string, scopes []string, lifetime time.Duration) string {
	token := "ya29." + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued[token] = Token{Account: account, Scopes: scopes, Expires: time.Now().Add(lifetime)}
	return token
}
