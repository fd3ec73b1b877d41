package bigquery

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"github.com/googleapis/gax-go/v2"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// callTimeout bounds one call of the client, which repeats its request after most
	// transient errors until then: longer than the 10 s in which a table takes five
	// changes of its metadata.
	callTimeout = 40 * time.Second
	// maxTries is how often a call is made in all: the client does not repeat a
	// request whose connection was cut.
	maxTries     = 4
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// clients are clients of the services with the same credentials.
type clients struct {
	*cloud.Client
	// uploads is for load jobs with bytes of this process: cloud.Client sizes the
	// memory of uploads itself.
	uploads *bigquery.Service
	objects *storage.Service // of the staging bucket; nil: there is none
}

// service makes the requests. It is safe for concurrent use.
type service struct {
	config config
	log    hclog.Logger
	sleep  func(ctx context.Context, d time.Duration) error
	now    func() time.Time

	mu       sync.Mutex
	api      *clients // nil: not connected yet
	location string   // of the dataset; empty: not known yet
	scope    string   // of job ids: tells the dataset from others, and from one of its name that was deleted
}

func newService(c config, log hclog.Logger) *service {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &service{config: c, log: log, sleep: gax.Sleep, now: time.Now}
}

// connect returns the client, which is made at the first call: application default
// credentials may ask the machine's metadata server. An error is not kept:
// credentials may turn up.
func (s *service) connect(ctx context.Context) (*clients, error) {
	if api := s.keep(nil); api != nil {
		return api, nil
	}
	client, err := s.config.account().Client()
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{option.WithHTTPClient(client)}
	if s.config.Endpoint != "" {
		options = append(options, option.WithEndpoint(s.config.endpoint()))
	}
	api, err := cloud.NewClient(context.WithoutCancel(ctx), s.config.Project, options...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	uploads, err := bigquery.NewService(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	made := &clients{Client: api, uploads: uploads}
	if s.config.stages() {
		if made.objects, err = s.config.connectStaging(ctx); err != nil {
			return nil, err
		}
	}
	return s.keep(made), nil
}

// keep returns the client that was kept first; without any it keeps api.
func (s *service) keep(api *clients) *clients {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil {
		s.api = api
	}
	return s.api
}

// call makes a request, and repeats it after transient errors. Each try has
// callTimeout. The request must be one that may be repeated.
func (s *service) call(ctx context.Context, f func(ctx context.Context, api *clients) error) error {
	api, err := s.connect(ctx)
	if err != nil {
		return err
	}
	pause := firstPause
	for try := 1; ; try++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return f(ctx, api)
		}()
		if err == nil || try == maxTries || ctx.Err() != nil || !isTransient(err) {
			return err
		}
		if err := s.sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// place returns the dataset's location, which every request for a job needs.
func (s *service) place(ctx context.Context) (string, error) {
	s.mu.Lock()
	location := s.location
	s.mu.Unlock()
	if location != "" {
		return location, nil
	}
	d, err := s.dataset(ctx)
	if err != nil {
		return "", s.classify("read dataset "+s.config.Dataset, err)
	}
	return d.Location, nil
}

// dataset reads the dataset's metadata, and keeps its location.
func (s *service) dataset(ctx context.Context) (*cloud.DatasetMetadata, error) {
	var d *cloud.DatasetMetadata
	err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
		d, err = api.Dataset(s.config.Dataset).Metadata(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.location, s.scope = d.Location, scopeOf(d)
	return d, nil
}

// scopeOf returns the beginning of the ids of a dataset's jobs. Ids belong to the
// project, and outlive datasets.
func scopeOf(d *cloud.DatasetMetadata) string {
	h := fnv.New64a()
	fmt.Fprint(h, d.FullID, " ", d.CreationTime.UnixMilli())
	return fmt.Sprintf("penstock_%016x", h.Sum64())
}

// inScope adds the dataset to the stem of a job's ids.
func (s *service) inScope(ctx context.Context, stem string) (string, error) {
	if _, err := s.place(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scope + "_" + stem, nil
}
