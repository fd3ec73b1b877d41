package mixpanel

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Region is where Mixpanel keeps a project.
type Region struct{ Export, Query string } // URLs without path

// Regions are Mixpanel's.
var Regions = map[string]Region{
	"us": {"https://data.mixpanel.com", "https://mixpanel.com"},
	"eu": {"https://data-eu.mixpanel.com", "https://eu.mixpanel.com"},
	"in": {"https://data-in.mixpanel.com", "https://in.mixpanel.com"},
}

// Credentials are those of a service account, or the secret of a project.
type Credentials struct {
	Username, Secret string
	APISecret        string // used when Username is empty
}

// Client asks the APIs of one project. It may be used concurrently.
type Client struct {
	o    ClientOptions
	http *http.Client
}

// ClientOptions configure a Client.
type ClientOptions struct {
	Region      Region
	ProjectID   int64
	Credentials Credentials
	// Stall is how long the server may send nothing; 0: 5 minutes.
	Stall time.Duration
}

// NewClient returns a client.
func NewClient(o ClientOptions) *Client {
	if o.Stall == 0 {
		o.Stall = 5 * time.Minute
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // it is asked for, and undone, here
	return &Client{o: o, http: &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return &Error{Kind: Elsewhere, Detail: "the server redirects to " + r.URL.Scheme + "://" + r.URL.Host}
	}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is the body of an export. The caller closes it.
type Answer struct {
	io.Reader           // decompressed
	At        time.Time // when it began, by the server's clock; zero: the server does not say
	close     func()
}

// Close ends the request.
func (a *Answer) Close() { a.close() }

// Export asks for the events of a query. It returns when the answer begins; an error
// is an *Error unless ctx is done.
func (c *Client) Export(ctx context.Context, q Query) (*Answer, error) {
	query := url.Values{"from_date": {q.From.String()}, "to_date": {q.To.String()}, "time_in_ms": {"true"}}
	if q.Since != 0 {
		query.Set("where", selector(q.Since))
	}
	c.identify(query)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.o.Region.Export+"/api/2.0/export?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return c.ask(ctx, r)
}

// identify adds the project, which service accounts must name.
func (c *Client) identify(query url.Values) {
	if c.o.Credentials.Username != "" {
		query.Set("project_id", strconv.FormatInt(c.o.ProjectID, 10))
	}
}

// ask sends a request and returns the body of an answer with status 200.
func (c *Client) ask(ctx context.Context, r *http.Request) (*Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.o.Stall, func() {
		cancel(&Error{Kind: Truncated, Detail: fmt.Sprintf("the server sent nothing for %s", c.o.Stall)})
	})
	end := func() {
		watch.Stop()
		cancel(nil)
	}
	r = r.WithContext(ctx)
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("User-Agent", "penstock")
	if k := c.o.Credentials; k.Username != "" {
		r.SetBasicAuth(k.Username, k.Secret)
	} else {
		r.SetBasicAuth(k.APISecret, "")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		err = c.noAnswer(ctx, err)
		end()
		return nil, err
	}
	body := &watched{Reader: answer.Body, ctx: ctx, watch: watch, stall: c.o.Stall}
	a := &Answer{Reader: body, close: func() {
		end()
		// The connection is not used again unless the body was read to its end.
		_ = answer.Body.Close()
	}}
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		a.At = at
	}
	if err := c.check(answer, a); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// noAnswer returns the error of a request that was not answered.
func (c *Client) noAnswer(ctx context.Context, err error) error {
	var known *Error
	if errors.As(context.Cause(ctx), &known) || errors.As(err, &known) {
		return known
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var at *url.Error
	if errors.As(err, &at) { // it holds the URL
		err = at.Err
	}
	return &Error{Kind: Unavailable, Detail: err.Error(), Cause: err}
}

// check refuses an answer that is not the one that was asked for, and undoes its
// compression.
func (c *Client) check(answer *http.Response, a *Answer) error {
	if answer.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(a.Reader)
		switch {
		case err != nil && answer.StatusCode != http.StatusOK:
			a.Reader = strings.NewReader("") // its status tells enough
			return c.refused(answer, a)
		case err != nil:
			return truncated(err, "the compressed answer cannot be read: %v", err)
		}
		a.Reader = z
	}
	if answer.StatusCode != http.StatusOK {
		return c.refused(answer, a)
	}
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind == "text/html" {
		return &Error{Kind: Unavailable, Status: answer.StatusCode, Detail: "a page of HTML instead of data: " + c.excerpt(a)}
	}
	return nil
}

// refused returns the error of an answer with a status that is not 200.
func (c *Client) refused(answer *http.Response, a *Answer) error {
	e := &Error{Status: answer.StatusCode, Detail: c.excerpt(a)}
	switch {
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden,
		answer.StatusCode == http.StatusBadRequest && strings.Contains(e.Detail, "authenticate"):
		e.Kind = Unauthorized
	case answer.StatusCode == http.StatusBadRequest && strings.Contains(e.Detail, "invalid project id"):
		e.Kind = Elsewhere
	case answer.StatusCode == http.StatusPaymentRequired:
		e.Kind = NoPlan
	case answer.StatusCode == http.StatusTooManyRequests:
		e.Kind, e.After = TooMany, retryAfter(answer.Header)
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusRequestTimeout:
		e.Kind, e.After = Unavailable, retryAfter(answer.Header)
	default:
		e.Kind = BadRequest
	}
	if strings.Contains(e.Detail, "later than today") {
		e.Detail += " (does the clock of this machine run ahead, or does data_timezone not fit the project?)"
	}
	return e
}

// shown is how much of an answer is in an error.
const shown = 200

// excerpt returns the beginning of a body, or the error that it holds, on one line.
func (c *Client) excerpt(a *Answer) string {
	data, _ := io.ReadAll(io.LimitReader(a, 16<<10))
	var object struct{ Error string }
	text := string(data)
	if json.Unmarshal(data, &object) == nil && object.Error != "" {
		text = object.Error
	}
	text = strings.ToValidUTF8(strings.Join(strings.Fields(c.redact(text)), " "), "?")
	if len(text) > shown {
		text = strings.ToValidUTF8(text[:shown], "") + " …"
	}
	if text == "" {
		return "the answer says nothing more"
	}
	return text
}

// redact replaces the credentials in foreign text, as they are and as the request's
// Authorization has them.
func (c *Client) redact(text string) string {
	k := c.o.Credentials
	for _, secret := range []string{k.Secret, k.APISecret, basic(k.Username, k.Secret), basic(k.APISecret, "")} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// basic returns the encoded credentials of the scheme Basic; "" without a user.
func basic(user, password string) string {
	if user == "" {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// redacted returns err, whose text may quote the server's answer, without credentials.
func (c *Client) redacted(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Detail = c.redact(e.Detail)
	}
	return err
}

// retryAfter returns when a server is to be asked again; 0: it does not say. The
// headers of a query whose project has no requests left look so:
//
//	Retry-After: 1234
//	RateLimit: "project";r=0;t=1234
func retryAfter(h http.Header) time.Duration {
	if n, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After"))); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		if sent, err := http.ParseTime(h.Get("Date")); err == nil && at.After(sent) {
			return at.Sub(sent)
		}
	}
	var longest time.Duration
	for _, item := range strings.Split(h.Get("RateLimit"), ",") {
		left, wait := -1, 0
		for _, part := range strings.Split(item, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			n, err := strconv.Atoi(value)
			switch {
			case err != nil:
			case name == "r":
				left = n
			case name == "t":
				wait = n
			}
		}
		if left == 0 {
			longest = max(longest, time.Duration(wait)*time.Second)
		}
	}
	return longest
}

// watched is a body that may not stall.
type watched struct {
	io.Reader
	ctx   context.Context
	watch *time.Timer
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.watch.Reset(w.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

// Profile is one profile of a page, as JSON: {"$distinct_id":…,"$properties":{…}}.
type Profile = json.RawMessage

// page is an answer of the profile query.
type page struct {
	Page     int       `json:"page"`
	PageSize int       `json:"page_size"`
	Results  []Profile `json:"results"`
	Session  string    `json:"session_id"`
	Status   string    `json:"status"`
	Error    string    `json:"error"`
	Total    *int64    `json:"total"`
}

// maxPage is the most bytes of a page of profiles.
const maxPage = 256 << 20

// profiles asks for a page of profiles. Session is "" for the first one.
func (c *Client) profiles(ctx context.Context, session string, number int) (*page, error) {
	query := url.Values{}
	c.identify(query)
	form := url.Values{"page": {strconv.Itoa(number)}}
	if session != "" {
		form.Set("session_id", session)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.Region.Query+"/api/query/engage?"+query.Encode(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := c.ask(ctx, r)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	data, err := io.ReadAll(io.LimitReader(a, maxPage))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, truncated(err, "page %d of profiles ended early: %v", number, err)
	case len(data) == maxPage:
		return nil, truncated(nil, "page %d of profiles has more than %d bytes", number, maxPage)
	}
	var p page
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, truncated(err, "page %d of profiles is not JSON: %s", number, c.excerpt(&Answer{Reader: bytes.NewReader(data)}))
	}
	if p.Status != "ok" || p.Error != "" {
		return nil, &Error{Kind: Unavailable, Detail: fmt.Sprintf("page %d of profiles does not have the status ok: %s", number, c.excerpt(&Answer{Reader: bytes.NewReader(data)}))}
	}
	return &p, nil
}
