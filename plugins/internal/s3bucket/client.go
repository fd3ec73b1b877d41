package s3bucket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/penstock-io/penstock/sdk"
)

const (
	maxAttempts   = 6
	maxBackoff    = 5 * time.Second
	dialTimeout   = 10 * time.Second
	answerTimeout = 60 * time.Second
	// refreshBefore is the time before its end when a session is renewed.
	refreshBefore = 5 * time.Minute
)

// withEnvironment returns the configuration with the endpoint of the environment
// variables of AWS's tools, unless the block sets one. The endpoint then has all
// effects of the attribute: the region is optional, the path holds the bucket,
// and targets name the server.
func (c config) withEnvironment(lookup func(string) (string, bool)) config {
	if ignored, _ := lookup("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"); strings.EqualFold(ignored, "true") || c.Endpoint != "" {
		return c
	}
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		if url, _ := lookup(name); url != "" {
			c.Endpoint, c.endpointFrom = url, name
			return c
		}
	}
	return c
}

// newClient returns a client for the configuration. It makes no network call:
// credentials are fetched when the first request is signed.
func newClient(ctx context.Context, c config, project sdk.Project) (*s3.Client, error) {
	conf, err := c.load(ctx, project)
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(conf, func(o *s3.Options) { c.apply(o) }), nil
}

// load returns the configuration for clients, with the credentials of the role if
// there is one.
func (c config) load(ctx context.Context, project sdk.Project) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{
		// A BuildableClient, so that AWS_CA_BUNDLE is honoured.
		awsconfig.WithHTTPClient(httpClient()),
		awsconfig.WithRetryer(func() aws.Retryer { return newRetryer(c.maxBackoff) }),
		awsconfig.WithLogger(logging.Nop{}),
	}
	if c.Region != "" {
		options = append(options, awsconfig.WithRegion(c.Region))
	}
	if c.AccessKeyID != "" {
		options = append(options, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	}
	conf, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, sdk.Configuration(fmt.Errorf("load the AWS configuration: %w", err),
			"look at AWS_PROFILE, AWS_CA_BUNDLE and the files in ~/.aws of the user that runs penstock")
	}
	if conf.Region == "" && c.Endpoint != "" {
		conf.Region = "us-east-1" // the default of other servers
	}
	if conf.Region == "" {
		return aws.Config{}, mistakes{}.add("region", "Region is missing",
			"Set region to the one that the bucket is in, as in region = \"us-west-2\"; neither the environment nor a profile names one.").err()
	}
	if c.RoleARN != "" {
		conf.Credentials = assumeRole(conf, c, project)
	}
	return conf, nil
}

// apply sets the options of the S3 client.
func (c config) apply(o *s3.Options) {
	if c.Endpoint != "" {
		o.BaseEndpoint = aws.String(strings.TrimRight(c.Endpoint, "/"))
		o.UsePathStyle = true
	}
	// Keeps the SDK from adding a checksum of its own, which would be a trailer
	// over TLS: many servers refuse trailers.
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	if c.Checksums == checksumMD5 || c.Checksums == checksumNone {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	if c.PathStyle != nil {
		o.UsePathStyle = *c.PathStyle
	}
	if c.ExpectedBucketOwner != "" {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return smithyhttp.SetHeaderValue("X-Amz-Expected-Bucket-Owner", c.ExpectedBucketOwner)(stack)
		})
	}
}

// unsigned returns options that leave the SHA-256 of the data out of the
// signature on a loopback connection, where the data cannot be changed on its
// way. Over TLS the SDK does the same by itself. The service still checks the
// CRC-32, which is signed.
func (c config) unsigned() []func(*s3.Options) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil
	}
	return []func(*s3.Options){s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)}
}

// assumeRole returns a provider that assumes the role with the credentials of
// conf, and again before each session ends.
func assumeRole(conf aws.Config, c config, project sdk.Project) aws.CredentialsProvider {
	external := c.ExternalID
	if external == "" {
		external = project.Token
	}
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "penstock-" + strconv.FormatInt(project.ID, 10)
		if external != "" {
			o.ExternalID = aws.String(external)
		}
	})
	return aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = refreshBefore
		o.ExpiryWindowJitterFrac = 0.5
	})
}

func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 2 * partBuffers
			t.ResponseHeaderTimeout = answerTimeout
			t.WriteBufferSize = 128 << 10
		})
}

// newRetryer returns a retryer that waits at most the given time between two
// attempts at a call; 0: maxBackoff.
func newRetryer(most time.Duration) aws.Retryer {
	if most == 0 {
		most = maxBackoff
	}
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = most
		// The host decides when to stop. A retry budget shared by all calls would
		// fail healthy calls together with the failing ones.
		o.RateLimiter = ratelimit.None
	})
}
