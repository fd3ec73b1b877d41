package bigquery

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/bigquery/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
)

// objectType is the type of staged objects. It does not say that they are compressed:
// Cloud Storage would decompress an object that does.
const objectType = "application/octet-stream"

// connectStaging returns a client of Cloud Storage.
func (c config) connectStaging(ctx context.Context) (*storage.Service, error) {
	client, err := c.stagingAccount().Client()
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{option.WithHTTPClient(client)}
	if c.StagingEndpoint != "" {
		options = append(options, option.WithEndpoint(strings.TrimSuffix(c.StagingEndpoint, "/")+"/storage/v1/"))
	}
	objects, err := storage.NewService(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("set up the client of the staging bucket: %w", err), "")
	}
	return objects, nil
}

// stagingAccount is the account with the scope of objects.
func (c config) stagingAccount() gcp.Credentials {
	account := c.account()
	account.Endpoint, account.Scopes = c.StagingEndpoint, []string{"https://www.googleapis.com/auth/devstorage.read_write"}
	return account
}

// stages reports whether parts are loaded from a bucket.
func (c config) stages() bool { return c.StagingBucket != "" }

// stagedIn begins the names of all objects of the dataset in the staging bucket.
func (c config) stagedIn() string { return "penstock_staging/" + c.Project + "." + c.Dataset + "/" }

// stagedBy begins the names of an attempt's objects.
func (c config) stagedBy(run sdk.Run) string { return c.stagedIn() + attemptName(run) + "/" }

func (c config) uri(object string) string { return "gs://" + c.StagingBucket + "/" + object }

// fromBucket is the configuration of a load that reads an object.
func fromBucket(c *bigquery.JobConfiguration, uri string) *bigquery.JobConfiguration {
	load := *c.Load
	load.SourceUris = []string{uri}
	return &bigquery.JobConfiguration{Labels: c.Labels, Load: &load}
}

// loadStaged uploads a part to the staging bucket and loads it from there. The object is
// deleted when it is loaded; those that are left are swept by the pipeline's next attempt.
func (a *attempt) loadStaged(s *service, l *loading, held bool) (*cloud.JobStatus, error) {
	object := s.config.stagedBy(a.run) + l.stem + ".json.gz"
	var err error
	if held {
		err = s.stageHeld(a.ctx, object, l.part)
		l.part.release()
	} else {
		err = s.stage(a.ctx, object, l.part, chunkSize)
		l.part.stopReading()
	}
	if err != nil {
		return nil, s.classifyStaging("upload "+s.config.uri(object), err)
	}
	j, err := s.loadJob(a.ctx, loadRequest{stem: l.stem, first: l.first, config: fromBucket(l.config, s.config.uri(object)), turn: a.asking})
	if err == nil {
		if err := s.deleteStaged(a.ctx, object); err != nil {
			s.log.Warn("a staged object was not deleted; the next run deletes it", "object", s.config.uri(object), "error", err)
		}
	}
	return j, err
}

// stageHeld uploads a part that can be read again.
func (s *service) stageHeld(ctx context.Context, object string, p *part) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := s.stage(ctx, object, p.reader(), chunkFor(p.size))
		if err == nil || try == maxJobTries || ctx.Err() != nil || !isTransient(err) {
			return err
		}
		if err := s.sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// stage uploads an object, once, and compares what the service has stored. The name
// belongs to one part of one attempt: an object of that name is the same part.
func (s *service) stage(ctx context.Context, object string, data io.Reader, chunk int) error {
	api, err := s.connect(ctx)
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, uploadLimit)
	defer cancel()
	sent := &measured{data: data, sum: crc32.New(gcp.Castagnoli)}
	stored, err := api.objects.Objects.Insert(s.config.StagingBucket, &storage.Object{Name: object, ContentType: objectType}).
		Media(sent, googleapi.ContentType(objectType), googleapi.ChunkSize(chunk),
			googleapi.ChunkTransferTimeout(chunkTimeout), googleapi.ChunkRetryDeadline(chunkDeadline)).
		Fields("size", "crc32c").Context(sending).Do()
	if err != nil {
		return gcp.WithoutSession(err)
	}
	if sum := gcp.EncodeCRC(sent.sum.Sum32()); stored.Size != sent.size || stored.Crc32c != "" && stored.Crc32c != sum {
		return fmt.Errorf("%d bytes with CRC-32C %s were stored, sent were %d with %s", stored.Size, stored.Crc32c, sent.size, sum)
	}
	return nil
}

// measured counts and sums up the bytes that are read.
type measured struct {
	data io.Reader
	sum  hash.Hash32
	size uint64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.data.Read(p)
	m.size += uint64(n)
	_, _ = m.sum.Write(p[:n]) // a hash does not fail
	return n, err
}

// deleteStaged deletes an object; one that does not exist is deleted.
func (s *service) deleteStaged(ctx context.Context, object string) error {
	err := s.call(ctx, func(ctx context.Context, api *clients) error {
		return api.objects.Objects.Delete(s.config.StagingBucket, object).Context(ctx).Do()
	})
	if isNotFound(err) {
		return nil
	}
	return s.classifyStaging("delete "+s.config.uri(object), err)
}

// listStaged calls f for each object whose name begins with prefix.
func (s *service) listStaged(ctx context.Context, prefix string, f func(name string) error) error {
	for token := ""; ; {
		var page *storage.Objects
		err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
			page, err = api.objects.Objects.List(s.config.StagingBucket).Prefix(prefix).PageToken(token).Fields("nextPageToken", "items/name").Context(ctx).Do()
			return err
		})
		if err != nil {
			return s.classifyStaging("list "+s.config.uri(prefix), err)
		}
		for _, o := range page.Items {
			if err := f(o.Name); err != nil {
				return err
			}
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

// sweepStaged deletes the objects that earlier attempts of the run's pipeline have left. The
// run holds the fence, so that none of them can commit.
func (d *destination) sweepStaged(ctx context.Context, run sdk.Run) {
	if !d.config.stages() {
		return
	}
	own := d.config.stagedBy(run)
	err := d.listStaged(ctx, d.config.stagedIn()+run.PipelineID+"_", func(name string) error {
		if strings.HasPrefix(name, own) {
			return nil
		}
		return d.deleteStaged(ctx, name)
	})
	if err != nil {
		d.log.Warn("staged objects of earlier attempts were not deleted; will retry with the next run", "bucket", d.config.StagingBucket, "error", err)
	}
}

// dropStaged deletes the objects of an attempt that is over.
func (d *destination) dropStaged(ctx context.Context, run sdk.Run) error {
	if !d.config.stages() {
		return nil
	}
	return d.listStaged(ctx, d.config.stagedBy(run), func(name string) error { return d.deleteStaged(ctx, name) })
}

// classifyStaging gives an error of the staging bucket its class.
func (s *service) classifyStaging(action string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	wrapped := fmt.Errorf("%s: %w", action, err)
	if class := new(sdk.Error); errors.As(err, &class) {
		return wrapped
	}
	if hint := s.config.account().Hint(err); hint != "" {
		return sdk.Configuration(fmt.Errorf("%s: get a token: %w", action, err), hint)
	}
	e := gcp.Answer(err)
	switch {
	case e != nil && e.Code == http.StatusTooManyRequests:
		return sdk.Retryable(wrapped, throttleDelay)
	case isTransient(err):
		return sdk.Retryable(wrapped, 0)
	case e.Code == http.StatusNotFound:
		return sdk.Configuration(wrapped, "the bucket of staging_bucket does not exist: create it in the dataset's location; `penstock destinations setup` prints how")
	case e.Code == http.StatusForbidden, e.Code == http.StatusUnauthorized:
		return sdk.Configuration(wrapped, s.grantHint(e.Message+" "+e.Body))
	}
	return sdk.Permanent(wrapped)
}
