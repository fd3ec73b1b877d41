package gcsbucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	raw "google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
)

const (
	// chunkTimeout bounds one request of a resumable upload, chunkDeadline its start
	// and each chunk, with all their requests.
	chunkTimeout  = 2 * time.Minute
	chunkDeadline = 4 * time.Minute
)

// session is a resumable upload of one object. The service takes its chunks in
// order, and may keep fewer bytes of a chunk than were sent. An example with chunks
// of 8 MiB, whose second request breaks off:
//
//	PUT bytes 0-8388607/*            the service keeps 8388608 bytes
//	PUT bytes 8388608-16777215/*     no answer
//	PUT bytes */*                    the service keeps 12582912 bytes
//	PUT bytes 12582912-16777215/*    the service keeps 16777216 bytes
//	PUT bytes 16777216-16777300/16777301   the object
//
// It is used by one goroutine at a time.
type session struct {
	store  *store
	name   string // of the object
	uri    string
	kept   int64 // bytes that the service keeps, as its last answer said
	unsure bool  // whether a request had no answer, so that the service may keep more
}

// chunk is a piece of an object.
type chunk struct {
	data []byte
	at   int64 // where it begins, in bytes
	last bool
	sum  uint32 // CRC-32C of the whole object; of the last chunk alone
}

// end returns where the chunk ends, in bytes.
func (c chunk) end() int64 { return c.at + int64(len(c.data)) }

// total returns the object's size, as far as it is known.
func (c chunk) total() string {
	if c.last {
		return fmt.Sprint(c.end())
	}
	return "*"
}

// newSession starts a resumable upload.
func (s *store) newSession(ctx context.Context, name string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkDeadline)
	defer cancel()
	head, err := json.Marshal(&raw.Object{Name: name, ContentType: formats.ContentType(name)})
	if err != nil {
		return nil, sdk.Permanent(fmt.Errorf("describe %s: %w", name, err))
	}
	up := &session{store: s, name: name}
	err = retry(ctx, func() error {
		r, err := s.newInsert(ctx, "resumable", name, storage.Conditions{}, bytes.NewReader(head))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Upload-Content-Type", formats.ContentType(name))
		return s.call(r, func(answer *http.Response) error {
			up.uri = answer.Header.Get("Location")
			return nil
		})
	})
	if err == nil && up.uri == "" {
		err = errors.New("the service has named no address for the upload")
	}
	if err != nil {
		return nil, s.classify("storage.objects.create", err)
	}
	return up, nil
}

// send sends the next chunk, and what the service has not kept of it again. It
// returns the object after the last chunk, nil after another one.
func (up *session) send(ctx context.Context, c chunk) (*raw.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkDeadline)
	defer cancel()
	var stored *raw.Object
	err := retry(ctx, func() (err error) {
		stored, err = up.try(ctx, c)
		return err
	})
	if e := gcp.Answer(err); e != nil && (e.Code == http.StatusNotFound || e.Code == http.StatusGone) && !isMissingBucket(e) {
		return nil, sdk.Retryable(fmt.Errorf("write %s: the service has dropped the upload: %w", up.name, err), 0)
	}
	return stored, up.store.classify("storage.objects.create", err)
}

// try sends the bytes of a chunk that the service does not keep.
func (up *session) try(ctx context.Context, c chunk) (*raw.Object, error) {
	if up.unsure {
		if stored, err := up.put(ctx, c, nil); stored != nil || err != nil {
			return stored, err
		}
	}
	for up.kept < c.end() {
		before := up.kept
		if before < c.at {
			return nil, sdk.Retryable(fmt.Errorf("write %s: the service keeps %d bytes and has kept %d before", up.name, before, c.at), 0)
		}
		stored, err := up.put(ctx, c, c.data[before-c.at:])
		if stored != nil || err != nil {
			return stored, err
		}
		if up.kept <= before {
			return nil, sdk.Retryable(fmt.Errorf("write %s: the service has kept no byte of a request", up.name), 0)
		}
	}
	if c.last {
		return nil, sdk.Retryable(fmt.Errorf("write %s: the service keeps all bytes and has not finished the object", up.name), 0)
	}
	return nil, nil
}

// put sends bytes of a chunk, which follow those that the service keeps; none: it
// asks how many the service keeps. It returns the object if the upload is finished.
func (up *session) put(ctx context.Context, c chunk, data []byte) (stored *raw.Object, err error) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, up.uri, bytes.NewReader(data))
	if err != nil {
		return nil, gcp.WithoutSession(err)
	}
	span := "*"
	if len(data) > 0 {
		span = fmt.Sprintf("%d-%d", up.kept, up.kept+int64(len(data))-1)
	}
	r.Header.Set("Content-Range", "bytes "+span+"/"+c.total())
	r.Header.Set("X-GUploader-No-308", "yes") // 308 is a redirection elsewhere
	if c.last {
		r.Header.Set("X-Goog-Hash", "crc32c="+gcp.EncodeCRC(c.sum))
	}
	up.unsure = true
	err = up.store.call(r, func(answer *http.Response) error {
		if answer.StatusCode != http.StatusPermanentRedirect && answer.Header.Get("X-Http-Status-Code-Override") != "308" {
			stored = new(raw.Object)
			return decode(answer, stored)
		}
		kept, err := keptBytes(answer.Header.Get("Range"))
		if err == nil {
			up.kept, up.unsure = kept, false
		}
		return err
	})
	if err != nil {
		return nil, gcp.WithoutSession(err)
	}
	return stored, nil
}

// keptBytes reads the length of "bytes=0-99". No range: there are no bytes.
func keptBytes(span string) (int64, error) {
	if span == "" {
		return 0, nil
	}
	var last int64
	if _, err := fmt.Sscanf(span, "bytes=0-%d", &last); err != nil {
		return 0, fmt.Errorf("read the range %q of the service's answer: %w", span, err)
	}
	return last + 1, nil
}
