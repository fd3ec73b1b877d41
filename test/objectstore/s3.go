package objectstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

func s3Store() Store {
	answer := func(code, message string) string {
		return fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}
	header := http.Header{"Content-Type": {"application/xml"}}
	codes := map[int]string{
		http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalError", http.StatusServiceUnavailable: "SlowDown",
	}
	return Store{
		Type: "s3", Start: startS3, Account: s3Account,
		Faults: Faults{
			Object:   faultproxy.Match{Method: http.MethodPut, Path: `/mp_master_event/\d{4}/.*-0001\.json\.gz$`},
			Part:     faultproxy.Match{Method: http.MethodPut, Path: `\.json\.gz$`, Query: "partNumber=2"},
			Manifest: faultproxy.Match{Method: http.MethodPut, Path: `/_penstock/mp_master_event/events_out-[^/]*\.json$`},
			Refuse: func(status int) faultproxy.Fault {
				return faultproxy.Answer(status, header, answer(codes[status], "Please reduce your request rate."))
			},
			Expired: "the session token has expired",
			Expire: func() faultproxy.Fault {
				return faultproxy.Expire(http.StatusBadRequest, header, answer("ExpiredToken", "The provided token has expired."))
			},
		},
	}
}

func startS3(t testing.TB) *Bucket {
	server := standin.StartS3(t, "lake")
	return newS3(s3Access{
		bucket: "lake", region: "us-east-1", endpoint: server.Endpoint, key: server.AccessKey, secret: server.SecretKey,
	})
}

// s3Access is a bucket with the keys to it.
type s3Access struct {
	bucket, region, endpoint, prefix string
	key, secret, session             string
}

func newS3(a s3Access) *Bucket {
	client := s3.New(s3.Options{
		Region: a.region, UsePathStyle: a.endpoint != "",
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, a.session),
	}, func(o *s3.Options) {
		if a.endpoint != "" {
			o.BaseEndpoint = aws.String(a.endpoint)
		}
	})
	b := &Bucket{
		Type: "s3", Endpoint: a.endpoint, prefix: a.prefix, client: s3Client{client, a.bucket},
		Environment: []string{"TEST_S3_SECRET=" + a.secret, "TEST_S3_SESSION=" + a.session},
	}
	b.block = func(endpoint string) string {
		var text strings.Builder
		fmt.Fprintf(&text, "  bucket            = %q\n  region            = %q\n  access_key_id     = %q\n  secret_access_key = env(\"TEST_S3_SECRET\")\n", a.bucket, a.region, a.key)
		if a.session != "" {
			text.WriteString("  session_token     = env(\"TEST_S3_SESSION\")\n")
		}
		if endpoint != "" {
			fmt.Fprintf(&text, "  endpoint          = %q\n  path_style        = true\n", endpoint)
		}
		if a.prefix != "" {
			fmt.Fprintf(&text, "  prefix            = %q\n", strings.TrimSuffix(a.prefix, "/"))
		}
		return text.String()
	}
	return b
}

// s3Account uses the variables of Amazon's tools.
func s3Account(lookup func(string) (string, bool), prefix string) (*Bucket, error) {
	found, err := missing(lookup, "SMOKE_S3_BUCKET", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
	if err != nil {
		return nil, fmt.Errorf("%w; optional are AWS_SESSION_TOKEN and AWS_ENDPOINT_URL_S3", err)
	}
	session, _ := lookup("AWS_SESSION_TOKEN")
	endpoint, _ := lookup("AWS_ENDPOINT_URL_S3")
	b := newS3(s3Access{
		bucket: found["SMOKE_S3_BUCKET"], region: found["AWS_REGION"], endpoint: endpoint, prefix: prefix,
		key: found["AWS_ACCESS_KEY_ID"], secret: found["AWS_SECRET_ACCESS_KEY"], session: session,
	})
	b.Creates = fmt.Sprintf("objects below s3://%s/%s: %s", found["SMOKE_S3_BUCKET"], b.prefix,
		smokeCost("PUT, COPY, POST and LIST requests at about $0.005 per 1,000, GET at $0.0004"))
	return b, nil
}

type s3Client struct {
	*s3.Client
	bucket string
}

func (c s3Client) list(ctx context.Context, prefix string, yield func(string) error) error {
	pages := s3.NewListObjectsV2Paginator(c.Client, &s3.ListObjectsV2Input{Bucket: &c.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if err := yield(aws.ToString(o.Key)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c s3Client) read(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &c.bucket, Key: &name})
	if err != nil {
		return nil, err
	}
	return object.Body, nil
}

func (c s3Client) write(ctx context.Context, name, data string) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &c.bucket, Key: &name, Body: strings.NewReader(data)})
	return err
}

func (c s3Client) remove(ctx context.Context, name string) error {
	_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.bucket, Key: &name})
	return err
}
