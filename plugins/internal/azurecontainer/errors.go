package azurecontainer

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// throttleDelay is the shortest time before the host tries again after the service
// has throttled a request.
const throttleDelay = 10 * time.Second

// failure is an error of a request. Its text is one line, and holds neither the URL
// of the request, which may have a SAS, nor the answer's body, but its code and
// message. The cause is for errors.As.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

// describe returns the error of a request with a text for people. operation is the
// name that the service's documentation has for it.
func (s *store) describe(operation string, err error) error {
	text := err.Error()
	var (
		answer *azcore.ResponseError
		entra  *azidentity.AuthenticationFailedError
		broken *url.Error
	)
	switch {
	case errors.As(err, &entra):
		operation, text = "get a token of Entra ID", entraText(entra)
	case errors.As(err, &answer):
		text = answerText(answer)
	case errors.As(err, &broken):
		text = broken.Err.Error()
	}
	return &failure{text: operation + ": " + s.config.censor(text), cause: err}
}

// censor removes the secrets of a configuration from a text.
func (c config) censor(text string) string {
	token, err := url.ParseQuery(c.sas())
	if err != nil {
		token = url.Values{}
	}
	signature := token.Get("sig")
	for _, secret := range []string{c.AccountKey, c.ClientSecret, c.sas(), signature, url.QueryEscape(signature)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "REDACTED")
		}
	}
	return text
}

// answerText returns the code and message of an answer of the service, in one line.
func answerText(e *azcore.ResponseError) string {
	text := fmt.Sprintf("%d %s", e.StatusCode, e.ErrorCode)
	if e.ErrorCode == "" {
		text = fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	}
	if e.RawResponse == nil {
		return text
	}
	if message := answerMessage(e.RawResponse); message != "" {
		text += ": " + message
	}
	if id := e.RawResponse.Header.Get("X-Ms-Request-Id"); id != "" {
		text += " (request id " + id + ")"
	}
	return text
}

// answerMessage returns the first line of the message in an answer's body. Further
// lines repeat the request's id and the time.
func answerMessage(r *http.Response) string {
	data, err := runtime.Payload(r)
	if err != nil {
		return ""
	}
	var message struct {
		Message string `xml:"Message"`
		Detail  string `xml:"AuthenticationErrorDetail"`
	}
	if err := xml.Unmarshal(data, &message); err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(message.Message), "\n")
	if message.Detail != "" {
		line += " " + message.Detail
	}
	return firstLine(line)
}

// firstLine returns the first line of a text, without a full stop at its end: more
// follows.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(strings.TrimSpace(line), ".")
}

// classify gives an error of the service its class, and a hint that names the
// grant, command or attribute to correct. name is the blob's, or the prefix of a
// list.
func (s *store) classify(operation, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if class := new(sdk.Error); errors.As(err, &class) {
		return err
	}
	described := s.describe(operation, err)
	var entra *azidentity.AuthenticationFailedError
	if errors.As(err, &entra) {
		return s.classifyToken(entra, described)
	}
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return sdk.Retryable(s.unreachable(described), 0)
	}
	return s.classifyAnswer(operation, name, answer, described)
}

// unreachable adds to an error of the connection what may be wrong if it stays.
// Retryable errors carry no hint, so the text holds it.
func (s *store) unreachable(err error) error {
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		return err
	}
	return fmt.Errorf("%w; if this continues: there is no storage account %q, or endpoint must name its blob service", err, s.config.StorageAccount)
}

func (s *store) classifyAnswer(operation, name string, e *azcore.ResponseError, err error) error {
	switch bloberror.Code(e.ErrorCode) {
	case bloberror.BlobNotFound, bloberror.ResourceNotFound:
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.TargetConditionNotMet:
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	case bloberror.ServerBusy:
		return sdk.Retryable(err, throttleDelay)
	case bloberror.OperationTimedOut, bloberror.InternalError, bloberror.SystemInUse,
		bloberror.MD5Mismatch, bloberror.CRC64Mismatch:
		return sdk.Retryable(err, 0)
	}
	if hint := s.hint(name, e, err); hint != "" {
		return sdk.Configuration(err, hint)
	}
	switch {
	case e.StatusCode == http.StatusTooManyRequests || e.StatusCode == http.StatusServiceUnavailable:
		return sdk.Retryable(err, throttleDelay)
	case e.StatusCode >= http.StatusInternalServerError || e.StatusCode == http.StatusRequestTimeout:
		return sdk.Retryable(err, 0)
	case e.ErrorCode == "" && e.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case e.ErrorCode == "" && e.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	}
	return sdk.Permanent(fmt.Errorf("%s: %w", name, err))
}
