package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// throttleDelay is how long the host waits at least after the service said
// that it was too much.
const throttleDelay = 10 * time.Second

// classify gives an error of the service its class, and says which IAM action
// or which attribute it is about.
func (s *store) classify(action, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if hint := credentialHint(err); hint != "" {
		return sdk.Configuration(fmt.Errorf("get credentials: %w", err), hint)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return sdk.Retryable(err, 0)
	}
	status := 0
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return s.classifyCode(action, name, api.ErrorCode(), status, err)
}

// code is the service's word for an error; empty: it has said none.
func code(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return api.ErrorCode()
}

func (s *store) classifyCode(action, name, code string, status int, err error) error {
	switch code {
	case "NoSuchKey", "NotFound":
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case "NoSuchUpload":
		return fmt.Errorf("%w: %w", lake.ErrAborted, err)
	case "PreconditionFailed", "ConditionalRequestConflict":
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	case "SlowDown", "TooManyRequests", "RequestLimitExceeded", "ThrottlingException":
		return sdk.Retryable(err, throttleDelay)
	case "RequestTimeout", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "OperationAborted":
		return sdk.Retryable(err, 0)
	}
	if hint := s.hint(action, name, code, status); hint != "" {
		return sdk.Configuration(err, hint)
	}
	if status == 0 || status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return sdk.Retryable(err, 0)
	}
	return sdk.Permanent(err)
}

// hint says how to set right what a person has to; empty: it is nothing of
// that kind.
func (s *store) hint(action, name, code string, status int) string {
	switch code {
	case "NoSuchBucket":
		return fmt.Sprintf("create the bucket %q in this region, or set bucket to one that exists", s.bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException":
		return "access_key_id, secret_access_key or session_token is wrong"
	case "ExpiredToken", "TokenRefreshRequired":
		return "the session token has expired: use role_arn or credentials that do not expire"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301":
		return fmt.Sprintf("bucket %q is in another region: set region to its own", s.bucket)
	case "RequestTimeTooSkewed":
		return "set this machine's clock: it differs from the service's by more than 15 minutes"
	case "InvalidBucketName":
		return "bucket is not a name that the service takes"
	}
	if strings.HasPrefix(code, "KMS.") {
		return "kms_key_id names a key that cannot be used: it is disabled, being deleted, or in another region or account"
	}
	if status != http.StatusForbidden && code != "AccessDenied" {
		return ""
	}
	hint := fmt.Sprintf("grant %s on %s", action, s.resource(action, name))
	if s.encrypt.algorithm == "aws:kms" && action == "s3:PutObject" {
		hint += "; with encryption = \"kms\" the key's policy must allow kms:GenerateDataKey and kms:Decrypt as well"
	}
	return hint + "; expected_bucket_owner, where it is set, must be the account that owns the bucket"
}

// resource is what a policy names for an action.
func (s *store) resource(action, name string) string {
	if strings.HasPrefix(action, "s3:ListBucket") {
		return "arn:aws:s3:::" + s.bucket
	}
	project, _, _ := strings.Cut(name, "mp_")
	return "arn:aws:s3:::" + s.bucket + "/" + project + "*"
}

// credentialHint is not empty when no credentials could be had.
func credentialHint(err error) string {
	for _, service := range services(err) {
		switch service {
		case "STS":
			if !fault(err) {
				return ""
			}
			return "the role's trust policy must allow sts:AssumeRole to these credentials, with the condition sts:ExternalId equal to external_id (the project's token when it is not set)"
		case "ec2imds":
			return "no credentials were found: set access_key_id and secret_access_key, or give the host a profile, a web identity or an instance role"
		}
	}
	return ""
}

// services lists the services of all calls in an error, outermost first.
func services(err error) []string {
	var found []string
	for err != nil {
		var op *smithy.OperationError
		if !errors.As(err, &op) {
			break
		}
		found = append(found, op.ServiceID)
		err = op.Err
	}
	return found
}

// fault says whether the service that answered holds the caller at fault.
func fault(err error) bool {
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() < http.StatusInternalServerError &&
		response.HTTPStatusCode() != http.StatusTooManyRequests
}
