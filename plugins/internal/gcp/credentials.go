package gcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/auth/httptransport"

	"github.com/penstock-io/penstock/sdk"
)

const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 60 * time.Second

	platformScope = "https://www.googleapis.com/auth/cloud-platform"
)

// Credentials are the attributes of a destination block that select an account.
type Credentials struct {
	// KeyFile is the content of a key file; empty: application default credentials.
	KeyFile string
	// Impersonate is the address of a service account to act as; empty: none.
	Impersonate string
	// Scopes of the tokens.
	Scopes []string
	// Endpoint is the service's URL; empty: Google's. A server of this machine gets
	// no credentials if none are configured.
	Endpoint string
	// IAM is the way to the service that lets one account act as another. nil: the
	// default.
	IAM http.RoundTripper
}

// Environment returns the variables that sdk.Plugin.Environment names for application
// default credentials, and for the project that pays for requests with them.
func Environment() []string {
	return []string{"GOOGLE_*", "CLOUDSDK_CONFIG", "GCE_METADATA_*"}
}

// Client returns a client that adds tokens to requests. It makes no network call
// but, without a key file, to the machine's metadata server.
func (c Credentials) Client() (*http.Client, error) {
	options := &httptransport.Options{BaseRoundTripper: Transport(), DisableTelemetry: true}
	if c.anonymous() {
		options.DisableAuthentication = true
	} else {
		found, err := c.find()
		if err != nil {
			return nil, err
		}
		options.Credentials = found
	}
	client, err := httptransport.NewClient(options)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	return client, nil
}

// anonymous reports whether requests carry no credentials.
func (c Credentials) anonymous() bool {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" || c.KeyFile != "" || c.Impersonate != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

func (c Credentials) find() (*auth.Credentials, error) {
	base, err := c.base()
	if err != nil || c.Impersonate == "" {
		return base, err
	}
	iam := c.IAM
	if iam == nil {
		iam = Transport()
	}
	acting := func(err error) error {
		return sdk.Configuration(fmt.Errorf("act as %s: %w", c.Impersonate, err), "")
	}
	caller, err := httptransport.NewClient(&httptransport.Options{Credentials: base, BaseRoundTripper: refusals{iam}})
	if err != nil {
		return nil, acting(err)
	}
	found, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: c.Impersonate, Scopes: c.Scopes, Credentials: base, Client: caller,
	})
	if err != nil {
		return nil, acting(err)
	}
	return found, nil
}

// base returns the credentials of the key file or of the machine.
func (c Credentials) base() (*auth.Credentials, error) {
	options := &credentials.DetectOptions{Scopes: c.Scopes}
	if c.Impersonate != "" {
		options.Scopes = []string{platformScope}
	}
	if c.KeyFile == "" {
		found, err := credentials.DetectDefault(options)
		if err != nil {
			return nil, sdk.Configuration(fmt.Errorf("find application default credentials: %w", err),
				"set credentials = file(\"key.json\"), or GOOGLE_APPLICATION_CREDENTIALS for the host, or run it where a service account is attached")
		}
		return found, nil
	}
	kind, err := keyFileType(c.KeyFile)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	found, err := credentials.NewCredentialsFromJSON(credentials.CredType(kind), []byte(c.KeyFile), options)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("read the key file of attribute credentials: %w", err), "download the key again, or create a new one")
	}
	return found, nil
}

// keyFileType reads the kind of a key file, and nothing else of it: an error never
// shows its content.
func keyFileType(content string) (string, error) {
	var file struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal([]byte(content), &file); err != nil {
		return "", errors.New("the value is not a JSON object")
	}
	switch file.Type {
	case "service_account", "authorized_user", "external_account", "external_account_authorized_user", "impersonated_service_account":
		return file.Type, nil
	case "":
		return "", errors.New("the object has no member \"type\"")
	}
	return "", fmt.Errorf("the client does not know type %q", file.Type)
}

var accountName = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)

// Account returns the address of the account that makes the requests; "ACCOUNT" if
// it is not known.
func (c Credentials) Account() string {
	if c.Impersonate != "" {
		return c.Impersonate
	}
	return c.caller()
}

// caller returns the address of the key file's account.
func (c Credentials) caller() string {
	var file struct {
		Email string `json:"client_email"`
	}
	if json.Unmarshal([]byte(c.KeyFile), &file) != nil || file.Email == "" {
		return "ACCOUNT"
	}
	return file.Email
}

// Transport returns a transport that bounds connecting and waiting for an answer.
func Transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = answerTimeout
	t.MaxIdleConnsPerHost = 32
	t.WriteBufferSize = 128 << 10
	return t
}

// refusal is an answer of IAM Credentials that is not a token.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.body) }

// refusals is a transport that returns answers other than success as errors of
// type *refusal: the client for impersonation puts them into text.
type refusals struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t refusals) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil || answer.StatusCode < http.StatusMultipleChoices {
		return answer, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the answer of IAM Credentials: %w", err)
	}
	return nil, &refusal{answer.StatusCode, string(body)}
}
