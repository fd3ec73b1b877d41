package bigquery

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/googleapis/gax-go/v2"
	"github.com/hashicorp/go-hclog"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// callTimeout bounds one request.
	callTimeout = 60 * time.Second
	// maxTries is how often a request is made in all. With the pauses between them
	// they take 35 s: longer than the 10 s in which a table takes five changes of its
	// metadata.
	maxTries     = 7
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// service makes the requests. It is safe for concurrent use.
type service struct {
	config config
	log    hclog.Logger
	sleep  func(ctx context.Context, d time.Duration) error
	now    func() time.Time

	mu       sync.Mutex
	api      *bq.Service // nil: not connected yet
	location string      // of the dataset; empty: not known yet
	scope    string      // of job ids: tells the dataset from others, and from one of its name that was deleted
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
func (s *service) connect(ctx context.Context) (*bq.Service, error) {
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
	api, err := bq.NewService(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client: %w", err), "")
	}
	return s.keep(api), nil
}

// keep returns the client that was kept first; without any it keeps api.
func (s *service) keep(api *bq.Service) *bq.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil {
		s.api = api
	}
	return s.api
}

// call makes a request, and repeats it after transient errors. Each try has
// callTimeout. The request must be one that may be repeated.
func (s *service) call(ctx context.Context, f func(ctx context.Context, api *bq.Service) error) error {
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
func (s *service) dataset(ctx context.Context) (*bq.Dataset, error) {
	var d *bq.Dataset
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
		d, err = api.Datasets.Get(s.config.Project, s.config.Dataset).Context(ctx).Do()
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
func scopeOf(d *bq.Dataset) string {
	h := fnv.New64a()
	if d.DatasetReference != nil {
		fmt.Fprintf(h, "%s.%s ", d.DatasetReference.ProjectId, d.DatasetReference.DatasetId)
	}
	fmt.Fprint(h, d.CreationTime)
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
