package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	raw "google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/sdk"
)

const (
	scope = "https://www.googleapis.com/auth/devstorage.read_write"

	maxAttempts    = 6
	initialBackoff = 200 * time.Millisecond
	maxBackoff     = 5 * time.Second
	dialTimeout    = 10 * time.Second
	answerTimeout  = 60 * time.Second
)

// clients are three clients of one service with the same credentials.
type clients struct {
	*storage.Client
	// api is for compose: storage.Client has no way to name the key that the
	// composed object is encrypted with.
	api *raw.Service
	// http is for inserts and resumable uploads: storage.Client copies each
	// object's bytes twice more, and allocates a buffer for each object.
	http *http.Client
}

// connector makes the clients at the first call, since looking for application
// default credentials may ask the machine's metadata server. It is safe for
// concurrent use.
type connector struct {
	config config

	mu    sync.Mutex
	found *clients
}

// get returns the clients. An error is not kept: credentials may turn up. Two
// first calls at one time may each make clients, and both use the same ones.
func (c *connector) get(ctx context.Context) (*clients, error) {
	if found := c.kept(nil); found != nil {
		return found, nil
	}
	found, err := newClients(context.WithoutCancel(ctx), c.config)
	if err != nil {
		return nil, err
	}
	return c.kept(found), nil
}

// kept returns the clients that were kept first; without any it keeps found.
func (c *connector) kept(found *clients) *clients {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		c.found = found
	}
	return c.found
}

func newClients(ctx context.Context, c config) (*clients, error) {
	transport := &httptransport.Options{BaseRoundTripper: roundTripper(), DisableTelemetry: true}
	if c.anonymous() {
		transport.DisableAuthentication = true
	} else {
		found, err := c.findCredentials()
		if err != nil {
			return nil, err
		}
		transport.Credentials = found
	}
	authorized, err := httptransport.NewClient(transport)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	endpoint := []option.ClientOption{option.WithHTTPClient(authorized)}
	if c.Endpoint != "" {
		endpoint = append(endpoint, option.WithEndpoint(c.endpoint()))
	}
	client, err := storage.NewClient(ctx, append(endpoint, storage.WithJSONReads(), storage.WithDisabledClientMetrics())...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	client.SetRetry(
		storage.WithPolicy(storage.RetryAlways), // names and bytes follow from the run; conditional writes are read back
		storage.WithMaxAttempts(maxAttempts),
		storage.WithBackoff(backoff()),
	)
	api, err := raw.NewService(ctx, endpoint...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	return &clients{Client: client, api: api, http: authorized}, nil
}

// endpoint is the base of the JSON API at the configured server.
func (c config) endpoint() string { return strings.TrimSuffix(c.Endpoint, "/") + "/storage/v1/" }

func backoff() gax.Backoff {
	return gax.Backoff{Initial: initialBackoff, Max: maxBackoff, Multiplier: 2}
}

// retry calls f until it returns no error, or one that is not transient, or
// for maxAttempts times.
func retry(ctx context.Context, f func() error) error {
	pause := backoff()
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || attempt == maxAttempts || ctx.Err() != nil || !isTransient(err) {
			return err
		}
		if ended := gax.Sleep(ctx, pause.Pause()); ended != nil {
			return fmt.Errorf("%w, after: %w", ended, err)
		}
	}
}

// isTransient reports whether a request may succeed when it is sent again: also
// when the service closed the connection, or when its own time was over.
func isTransient(err error) bool {
	return storage.ShouldRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// anonymous reports whether requests carry no credentials: to an emulator on
// this machine, when none are configured.
func (c config) anonymous() bool {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" || c.Credentials != "" || c.Impersonate != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

// findCredentials makes no network call but, without a key file, to the
// machine's metadata server.
func (c config) findCredentials() (*auth.Credentials, error) {
	base, err := c.baseCredentials()
	if err != nil || c.Impersonate == "" {
		return base, err
	}
	caller, err := httptransport.NewClient(&httptransport.Options{
		Credentials: base, BaseRoundTripper: refusals{c.impersonationTransport()},
	})
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("act as %s: %w", c.Impersonate, err), "")
	}
	acting, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: c.Impersonate, Scopes: []string{scope}, Credentials: base, Client: caller,
	})
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("act as %s: %w", c.Impersonate, err), "")
	}
	return acting, nil
}

// impersonationTransport is the way to IAM Credentials.
func (c config) impersonationTransport() http.RoundTripper {
	if c.iam != nil {
		return c.iam
	}
	return roundTripper()
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

func (c config) baseCredentials() (*auth.Credentials, error) {
	scopes := []string{scope}
	if c.Impersonate != "" {
		scopes = []string{"https://www.googleapis.com/auth/cloud-platform"}
	}
	options := &credentials.DetectOptions{Scopes: scopes}
	if c.Credentials == "" {
		found, err := credentials.DetectDefault(options)
		if err != nil {
			return nil, sdk.Configuration(fmt.Errorf("find application default credentials: %w", err),
				"set credentials = file(\"key.json\"), or GOOGLE_APPLICATION_CREDENTIALS for the host, or run it where a service account is attached")
		}
		return found, nil
	}
	kind, err := c.credentialType()
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	found, err := credentials.NewCredentialsFromJSON(credentials.CredType(kind), []byte(c.Credentials), options)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("read the key file of attribute credentials: %w", err), "download the key again, or create a new one")
	}
	return found, nil
}

func roundTripper() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = answerTimeout
	t.MaxIdleConnsPerHost = 2 * chunkBuffers
	t.WriteBufferSize = 128 << 10
	return t
}
