package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// Reasons why a request is refused as a whole, as RequestCount and log lines
// name them. schema.InvalidJSON and schema.IdentityVerb are further ones.
const (
	unknownPath        = "unknown_path"
	badMethod          = "bad_method"
	incompleteBody     = "incomplete_body" // the client closed the connection, or sent less than it had said
	slowBody           = "slow_body"
	bodyTooLarge       = "body_too_large"
	tooManyRecords     = "too_many_records"
	entryTooLarge      = "rows_too_large"
	unknownEncoding    = "unknown_encoding"
	corruptBody        = "corrupt_body" // it does not decompress
	badCallback        = "bad_callback"
	badRedirect        = "bad_redirect"
	invalidCredentials = "invalid_credentials"
	noProjectID        = "no_project_id"
	invalidRecords     = "invalid_records" // of /import: the answer names them
	busy               = "busy"            // too much is in flight
	diskFull           = "disk_full"
	notStored          = "not_stored"
)

// failure is why a request is refused as a whole.
type failure struct {
	status  int
	reason  string
	message string
	retry   time.Duration // 0: trying again is of no use
	err     error         // for the log; nil: it is the client's matter
}

var (
	errMethod      = &failure{http.StatusMethodNotAllowed, badMethod, "the method must be GET or POST", 0, nil}
	errPath        = &failure{http.StatusNotFound, unknownPath, "there is nothing at this path", 0, nil}
	errTooMany     = &failure{http.StatusRequestEntityTooLarge, tooManyRecords, fmt.Sprintf("request exceeds max limit of %d records", MaxRecords), 0, nil}
	errMedia       = &failure{http.StatusUnsupportedMediaType, unknownEncoding, "the content encoding must be gzip, deflate or none", 0, nil}
	errUnpackable  = &failure{http.StatusBadRequest, corruptBody, "the body does not decompress", 0, nil}
	errTimeout     = &failure{http.StatusRequestTimeout, slowBody, "the body came too slowly", 0, nil}
	errIncomplete  = &failure{http.StatusBadRequest, incompleteBody, "the body did not come whole", 0, nil}
	errCallback    = &failure{http.StatusBadRequest, badCallback, "callback must be the name of a function", 0, nil}
	errRedirect    = &failure{http.StatusBadRequest, badRedirect, "redirect must lead to an origin that is allowed", 0, nil}
	errCredentials = &failure{http.StatusUnauthorized, invalidCredentials, "Invalid credentials", 0, nil}
	errProjectID   = &failure{http.StatusBadRequest, noProjectID, "project_id is required with a service account", 0, nil}
)

// notJSON is the failure of a body of /import that is not JSON.
func notJSON(detail string) *failure {
	return &failure{http.StatusBadRequest, string(schema.InvalidJSON), detail, 0, nil}
}

// How long clients are asked to wait.
const (
	waitBusy = 2 * time.Second
	waitLog  = 5 * time.Second
	waitFull = 60 * time.Second
)

// unavailable asks the client to try again.
func unavailable(err error) *failure {
	const message = "the records could not be stored, try again"
	switch {
	case errors.Is(err, wal.ErrFull):
		return &failure{http.StatusServiceUnavailable, diskFull, message, waitFull, err}
	case errors.Is(err, wal.ErrTooLarge):
		return &failure{http.StatusRequestEntityTooLarge, entryTooLarge, "the records take more room than one request may", 0, nil}
	}
	return &failure{http.StatusServiceUnavailable, notStored, message, waitLog, err}
}

// busy is the failure of a request that there is no room for.
func (q *request) busy() *failure {
	if q.endpoint == imports {
		const documented = "Project exceeded rate limits. Please retry the request with exponential backoff."
		return &failure{http.StatusTooManyRequests, busy, documented, waitBusy, nil}
	}
	return &failure{http.StatusServiceUnavailable, busy, "too many requests are in flight, try again", waitBusy, nil}
}

// notRead is the failure of a request whose body could not be read.
func (q *request) notRead(err error) *failure {
	switch {
	case errors.Is(err, errTooLarge):
		return &failure{
			http.StatusRequestEntityTooLarge, bodyTooLarge, fmt.Sprintf("request exceeds max limit of %d bytes", q.settings.maxBody), 0, nil,
		}
	case errors.Is(err, errEncoding):
		return errMedia
	case errors.Is(err, errCorrupt):
		return errUnpackable
	case errors.Is(err, errSlow):
		return errTimeout
	case errors.Is(err, errBusy):
		return q.busy()
	}
	return errIncomplete
}

// complaints logs refused requests: for each endpoint and reason the first, and
// then at most one line in a while, with how many there were since the last.
// It may be used concurrently.
type complaints struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[requestKey]complaint
}

// complaint is the state of one endpoint and reason.
type complaint struct {
	at    time.Time
	since int64 // requests that were refused and not logged
}

// How often refusals for one reason are logged.
const (
	storeLogEvery  = 10 * time.Second // records that could not be stored
	clientLogEvery = time.Minute      // mistakes of clients
)

// add logs a refused request, or counts it for a later line. Addresses, tokens
// and queries of clients are never logged.
func (c *complaints) add(now time.Time, endpoint, path string, f *failure) {
	every := clientLogEvery
	if f.err != nil {
		every = storeLogEvery
	}
	c.mu.Lock()
	if c.last == nil {
		c.last = map[requestKey]complaint{}
	}
	key := requestKey{endpoint, f.status, f.reason}
	last, known := c.last[key]
	last.since++
	due := !known || now.Sub(last.at) >= every
	if due {
		c.last[key] = complaint{at: now}
	} else {
		c.last[key] = last
	}
	c.mu.Unlock()
	if !due {
		return
	}
	attributes := []any{"endpoint", endpoint, "status", f.status, "reason", f.reason, "requests", last.since}
	if f.err != nil {
		c.log.Error("could not store records; clients are asked to retry", append(attributes, "error", f.err)...)
		return
	}
	if f.reason == unknownPath {
		attributes = append(attributes, "path", path[:min(len(path), maxPath)])
	}
	c.log.Warn("refused requests", append(attributes, "detail", f.message)...)
}

// maxPath is the most bytes of an unknown path that are logged.
const maxPath = 80
