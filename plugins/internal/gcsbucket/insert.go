package gcsbucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	raw "google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
)

// answerLimit is the most bytes of an answer that are read: the description of an
// object.
const answerLimit = 1 << 20

// insert writes an object in one request, and again after a transient error. The
// service refuses bytes with another CRC-32C. Its expectation is empty for a write
// without a condition.
func (s *store) insert(ctx context.Context, name string, data []byte, contentType string, expected storage.Conditions) (*raw.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	sum := crc32.Checksum(data, gcp.Castagnoli)
	boundary := rand.Text()
	head, err := json.Marshal(&raw.Object{Name: name, ContentType: contentType, Crc32c: gcp.EncodeCRC(sum)})
	if err != nil {
		return nil, sdk.Permanent(fmt.Errorf("describe %s: %w", name, err))
	}
	before := fmt.Appendf(nil, "--%s\r\nContent-Type: application/json\r\n\r\n%s\r\n--%s\r\nContent-Type: %s\r\n\r\n", boundary, head, boundary, contentType)
	after := fmt.Appendf(nil, "\r\n--%s--\r\n", boundary)
	var stored *raw.Object
	err = retry(ctx, func() error {
		r, err := s.newInsert(ctx, "multipart", name, expected, io.MultiReader(bytes.NewReader(before), bytes.NewReader(data), bytes.NewReader(after)))
		if err != nil {
			return err
		}
		r.ContentLength = int64(len(before) + len(data) + len(after))
		r.Header.Set("Content-Type", "multipart/related; boundary="+boundary)
		stored = new(raw.Object)
		return s.call(r, func(answer *http.Response) error { return decode(answer, stored) })
	})
	if err != nil {
		return nil, s.classify("storage.objects.create", err)
	}
	return stored, compareCRC(name, sum, stored)
}

// newInsert returns a request that writes an object, in one or as the start of
// a resumable upload.
func (s *store) newInsert(ctx context.Context, kind, name string, expected storage.Conditions, body io.Reader) (*http.Request, error) {
	found, err := s.connect.get(ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{"uploadType": {kind}, "name": {name}, "alt": {"json"}, "prettyPrint": {"false"}}
	if s.kmsKey != "" {
		query.Set("kmsKeyName", s.kmsKey)
	}
	if expected.DoesNotExist || expected.GenerationMatch != 0 {
		query.Set("ifGenerationMatch", strconv.FormatInt(expected.GenerationMatch, 10))
	}
	if expected.MetagenerationMatch != 0 {
		query.Set("ifMetagenerationMatch", strconv.FormatInt(expected.MetagenerationMatch, 10))
	}
	address := googleapi.ResolveRelative(found.api.BasePath, "/upload/storage/v1/b/"+url.PathEscape(s.bucket)+"/o") + "?" + query.Encode()
	return http.NewRequestWithContext(ctx, http.MethodPost, address, body)
}

// call sends a request and passes its answer to take. The answer of a refusal is
// an error of type *googleapi.Error.
func (s *store) call(r *http.Request, take func(*http.Response) error) (err error) {
	found, err := s.connect.get(r.Context())
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "penstock")
	answer, err := found.http.Do(r)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, answer.Body, answerLimit) // keeps the connection usable
		_ = answer.Body.Close()
	}()
	if answer.StatusCode == http.StatusPermanentRedirect {
		return take(answer)
	}
	if err := googleapi.CheckResponse(answer); err != nil {
		return err
	}
	return take(answer)
}

// decode reads the description of an object.
func decode(answer *http.Response, into *raw.Object) error {
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerLimit)).Decode(into); err != nil {
		return fmt.Errorf("read the service's answer: %w", err)
	}
	return nil
}

// compareCRC returns an error if the service has stored other bytes than those that
// were sent.
func compareCRC(name string, sent uint32, stored *raw.Object) error {
	if stored.Crc32c == gcp.EncodeCRC(sent) {
		return nil
	}
	return sdk.Retryable(fmt.Errorf("write %s: the service stored bytes with CRC-32C %s, sent were bytes with %s", name, stored.Crc32c, gcp.EncodeCRC(sent)), 0)
}
