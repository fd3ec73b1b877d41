package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	googleScheme = "gs"
	googleScope  = "https://www.googleapis.com/auth/devstorage.read_only"

	// emulatorEnv names a server that stands in for Google's; it takes no credentials.
	emulatorEnv = "STORAGE_EMULATOR_HOST"
)

// googleBucket reads objects of Google Cloud Storage through its JSON API: it lists
// and reads, which needs a small part of Google's own client, and none of its weight.
type googleBucket struct {
	http          *http.Client
	api           string // URL of the bucket: "https://storage.googleapis.com/storage/v1/b/lake"
	base, pattern string
}

// openGoogle opens the bucket of an address. Its parameters are those of
// gocloud.dev/blob/gcsblob; the ones for signed URLs have no effect.
func openGoogle(ctx context.Context, u *url.URL) (place, error) {
	b := &googleBucket{base: googleScheme + "://" + u.Host + "/", pattern: strings.TrimPrefix(u.Path, "/")}
	fail := func(err error) (place, error) {
		return nil, fmt.Errorf("open bucket %s://%s: %w", googleScheme, u.Host, err)
	}
	domain, anonymous := "googleapis.com", os.Getenv(emulatorEnv) != ""
	for name, values := range u.Query() {
		switch name {
		case "anonymous":
			asked, err := strconv.ParseBool(values[0])
			if err != nil {
				return fail(fmt.Errorf("the parameter anonymous is %q: write true or false", values[0]))
			}
			anonymous = anonymous || asked
		case "universe_domain":
			domain = values[0]
		case "access_id", "private_key_path":
		default:
			return fail(fmt.Errorf("unknown parameter %q", name))
		}
	}
	b.api = googleEndpoint(domain) + "/storage/v1/b/" + url.PathEscape(u.Host)
	b.http = &http.Client{Transport: googleTransport()}
	if !anonymous {
		found, err := google.FindDefaultCredentials(context.WithoutCancel(ctx), googleScope)
		if err != nil {
			return fail(err)
		}
		b.http.Transport = &oauth2.Transport{Source: found.TokenSource, Base: b.http.Transport}
	}
	return b, nil
}

// googleEndpoint returns the server of a domain, or the one that stands in for it.
func googleEndpoint(domain string) string {
	emulator := os.Getenv(emulatorEnv)
	switch {
	case emulator == "":
		return "https://storage." + domain
	case strings.Contains(emulator, "://"):
		return strings.TrimSuffix(emulator, "/")
	default:
		return "http://" + emulator
	}
}

// googleAnswer is how long the beginning of an answer may take.
const googleAnswer = time.Minute

// googleTransport returns the default transport with a limit on silence.
func googleTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = googleAnswer
	return t
}

// googleObjects is a page of a bucket's objects.
type googleObjects struct {
	Items []struct {
		Name       string    `json:"name"`
		Size       int64     `json:"size,string"`
		Updated    time.Time `json:"updated"`
		Generation int64     `json:"generation,string"`
	} `json:"items"`
	Next string `json:"nextPageToken"`
}

func (b *googleBucket) list(ctx context.Context) (listing, error) {
	prefix := prefixOf(b.pattern)
	query := url.Values{"prefix": {prefix}, "fields": {"nextPageToken,items(name,size,updated,generation)"}}
	var entries []entry
	for {
		var page googleObjects
		if err := b.page(ctx, query, &page); err != nil {
			return listing{}, fmt.Errorf("list %s%s: %w", b.base, prefix, err)
		}
		for _, o := range page.Items {
			if matched, err := doublestar.Match(b.pattern, o.Name); err != nil || !matched {
				continue
			}
			entries = append(entries, entry{
				path: b.base + o.Name, size: o.Size, modTime: o.Updated.UnixNano(), etag: strconv.FormatInt(o.Generation, 10),
			})
		}
		if page.Next == "" {
			break
		}
		query.Set("pageToken", page.Next)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].path < entries[j].path })
	return listing{entries: entries}, nil
}

// page asks for one page of objects.
func (b *googleBucket) page(ctx context.Context, query url.Values, page *googleObjects) error {
	answer, err := b.get(ctx, b.api+"/o?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	err = json.NewDecoder(answer.Body).Decode(page)
	return errors.Join(err, answer.Body.Close())
}

func (b *googleBucket) open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	r := &googleReader{ctx: ctx, bucket: b, object: b.api + "/o/" + url.PathEscape(strings.TrimPrefix(path, b.base)) + "?alt=media", at: from, whole: from == 0}
	if err := r.begin(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

func (b *googleBucket) close() error {
	b.http.CloseIdleConnections()
	return nil
}

// googleError is an answer other than success.
type googleError struct {
	status  int
	message string
}

func (e *googleError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.message)
}

// transient reports whether the same request may succeed later.
func (e *googleError) transient() bool {
	return e.status == http.StatusRequestTimeout || e.status == http.StatusTooManyRequests || e.status >= http.StatusInternalServerError
}

// The pauses between attempts at a request: the first, doubled each time.
const (
	googleAttempts = 6
	googlePause    = 200 * time.Millisecond
)

// get sends a request, and again while the error is transient. The caller closes the
// body of the answer, whose status is success.
func (b *googleBucket) get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	for attempt, pause := 1, googlePause; ; attempt, pause = attempt+1, 2*pause {
		answer, err := b.try(ctx, address, header)
		var refused *googleError
		if err == nil || ctx.Err() != nil || attempt == googleAttempts || errors.As(err, &refused) && !refused.transient() {
			return answer, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// try sends a request once.
func (b *googleBucket) try(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := b.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusPartialContent || answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return answer, nil
	}
	refused := &googleError{status: answer.StatusCode, message: answer.Status}
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil && json.Unmarshal(text, &body) == nil && body.Error.Message != "" {
		refused.message = body.Error.Message
	}
	_ = answer.Body.Close() // the answer is an error already
	return nil, refused
}
