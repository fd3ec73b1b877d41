package bigquery

import (
	"context"
	"encoding/base64"
	"encoding/binary"
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
	"github.com/penstock-io/penstock/sdk/setup"
)

// castagnoli is the polynomial of Cloud Storage's checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
		defer l.part.release()
		err = s.stageHeld(a.ctx, object, l.part)
	} else {
		defer l.part.stopReading()
		err = s.stage(a.ctx, object, l.part, chunkSize)
		l.part.stopReading()
	}
	if err != nil {
		return nil, s.classifyStaging("upload "+s.config.uri(object), err)
	}
	j, err := s.loadJob(a.ctx, l.stem, l.first, fromBucket(l.config, s.config.uri(object)), 0, nil)
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
	sent := &measured{data: data, sum: crc32.New(castagnoli)}
	stored, err := api.objects.Objects.Insert(s.config.StagingBucket, &storage.Object{Name: object, ContentType: objectType}).
		Media(sent, googleapi.ContentType(objectType), googleapi.ChunkSize(chunk),
			googleapi.ChunkTransferTimeout(chunkTimeout), googleapi.ChunkRetryDeadline(chunkDeadline)).
		Fields("size", "crc32c").Context(sending).Do()
	if err != nil {
		return gcp.WithoutSession(err)
	}
	if sum := sent.base64(); stored.Size != sent.size || stored.Crc32c != "" && stored.Crc32c != sum {
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

// base64 returns the sum in the form of Cloud Storage.
func (m *measured) base64() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, m.sum.Sum32()))
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

// grantBucket returns the command that gives an account a role on the staging bucket.
func (c config) grantBucket(member, role string) []string {
	return []string{"gcloud", "storage", "buckets", "add-iam-policy-binding", "gs://" + c.StagingBucket, "--member=" + member, "--role=" + role}
}

// stagedDays is the age at which a rule of the bucket deletes objects that a pipeline has
// left which does not run any more. It is longer than any attempt.
const stagedDays = 2

// bucket creates the staging bucket with its rule, and lets the account use it.
func (p *preparation) bucket() {
	if !p.stages() {
		return
	}
	location := p.location()
	condition := []setup.Field{field("age", stagedDays), field("matchesPrefix", []any{"penstock_staging/"})}
	rule := setup.Object{field("rule", []any{setup.Object{field("action", setup.Object{field("type", "Delete")}), field("condition", setup.Object(condition))}})}
	p.add("Create the staging bucket in "+location+", the dataset's location. Its rule deletes what interrupted runs have left.",
		setup.Command("gcloud", "storage", "buckets", "create", "gs://"+p.StagingBucket, "--project="+p.Project, "--location="+location, "--uniform-bucket-level-access", "--public-access-prevention")+
			"LIFECYCLE=$(mktemp)\n"+
			strings.TrimSuffix(setup.Command("printf", `%s\n`, setup.JSON(rule)), "\n")+" > \"$LIFECYCLE\"\n"+
			strings.TrimSuffix(setup.Command("gcloud", "storage", "buckets", "update", "gs://"+p.StagingBucket), "\n")+" --lifecycle-file=\"$LIFECYCLE\"\n",
		setup.Resource("google_storage_bucket", p.label,
			field("project", p.Project), field("name", p.StagingBucket), field("location", location), field("uniform_bucket_level_access", true), field("public_access_prevention", "enforced"),
			setup.Block{Type: "lifecycle_rule", Body: []any{
				setup.Block{Type: "action", Body: []any{field("type", "Delete")}},
				setup.Block{Type: "condition", Body: []any{field("age", stagedDays), field("matches_prefix", []any{"penstock_staging/"})}},
			}}))
	member := "serviceAccount:" + p.email()
	p.add("Let the account use the staging bucket.",
		setup.Command(p.grantBucket(member, objectRole)...)+setup.Command(p.grantBucket(member, bucketRole)...),
		p.bucketMember("objects", objectRole)+"\n"+p.bucketMember("bucket", bucketRole))
}

func (p *preparation) bucketMember(of, role string) string {
	return setup.Resource("google_storage_bucket_iam_member", p.label+"_"+of,
		field("bucket", p.reference("google_storage_bucket", "name")), field("role", role), field("member", p.reference("google_service_account", "member")))
}

// stagedLine loads a line through the staging bucket, as a check.
func (c *checking) stagedLine(line string) error {
	d, object := c.d, c.d.config.stagedIn()+"check_"+c.unique+".json"
	if err := d.stage(c.ctx, object, strings.NewReader(line), chunkFor(int64(len(line)))); err != nil {
		return d.classifyStaging("upload "+d.config.uri(object), err)
	}
	config := fromBucket(d.load(decorated(c.name, "2026-06-01"), jobLabels("check")), d.config.uri(object))
	_, err := d.loadJob(c.ctx, "check_load_"+c.unique, 1, config, 0, nil)
	listed := d.listStaged(c.ctx, object, func(string) error { return nil })
	return errors.Join(d.classify("load from "+d.config.uri(object), err), listed, d.deleteStaged(c.ctx, object))
}
