package gcsbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

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
	authorized, err := c.account().Client()
	if err != nil {
		return nil, err
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
