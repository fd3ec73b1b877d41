package azurecontainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/minio/crc64nvme"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

const (
	typeJSON = "application/json"
	// bodyRetries is how often the rest of an answer's body is asked for.
	bodyRetries = 3
)

// store is a container as a lake.Store. The version of an object is its ETag.
type store struct {
	client *container.Client
	config config
	pool   *parts.Pool
}

func newStore(c config, shared *parts.Pool, transport http.RoundTripper) (*store, error) {
	client, err := c.newClient(transport)
	if err != nil {
		return nil, err
	}
	return &store{client: client, config: c, pool: shared}, nil
}

// blob returns a client of one blob. It costs no request.
func (s *store) blob(name string) *blockblob.Client { return s.client.NewBlockBlobClient(name) }

// scope returns the encryption scope of a write; nil: the default one.
func (s *store) scope() *blob.CPKScopeInfo {
	if s.config.EncryptionScope == "" {
		return nil
	}
	return &blob.CPKScopeInfo{EncryptionScope: &s.config.EncryptionScope}
}

// headers returns the properties of a new blob.
func headers(contentType string) *blob.HTTPHeaders {
	return &blob.HTTPHeaders{BlobContentType: &contentType}
}

// expect returns the conditions of a write that expects a blob at prev.
func expect(prev lake.Version) *blob.AccessConditions {
	c := &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}
	if prev != "" {
		c = &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(prev))}
	}
	return &blob.AccessConditions{ModifiedAccessConditions: c}
}

// version returns the version of a blob with an ETag.
func version(tag *azcore.ETag) (lake.Version, error) {
	if tag == nil || *tag == "" {
		return "", sdk.Permanent(errors.New("the service's answer has no ETag, which conditions of writes need"))
	}
	return lake.Version(*tag), nil
}

// checksum returns the CRC-64 that the service compares with the bytes that it
// receives. The service's polynomial is that of NVM Express.
func checksum(data []byte) blob.TransferValidationType {
	return blob.TransferValidationTypeCRC64(crc64nvme.Checksum(data))
}

func body(data []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(data)) }

// Read implements lake.Store.
func (s *store) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, v, err := s.download(ctx, name, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Count: limit}})
	if bloberror.HasCode(err, bloberror.InvalidRange) { // the blob is empty
		return s.readEmpty(ctx, name)
	}
	return data, v, err
}

// download reads a range of a blob. The rest of a body that breaks off is asked for
// on condition that the blob is the same.
func (s *store) download(ctx context.Context, name string, o *blob.DownloadStreamOptions) ([]byte, lake.Version, error) {
	answer, err := s.blob(name).DownloadStream(ctx, o)
	if err != nil {
		return nil, "", s.classify("Get Blob", name, err)
	}
	r := answer.NewRetryReader(ctx, &blob.RetryReaderOptions{MaxRetries: bodyRetries})
	data, err := io.ReadAll(io.LimitReader(r, o.Range.Count))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, "", s.classify("Get Blob", name, err)
	}
	if answer.ContentLength != nil && int64(len(data)) != *answer.ContentLength {
		return nil, "", sdk.Retryable(fmt.Errorf("Get Blob: %d of %d bytes came", len(data), *answer.ContentLength), 0)
	}
	v, err := version(answer.ETag)
	return data, v, err
}

func (s *store) readEmpty(ctx context.Context, name string) ([]byte, lake.Version, error) {
	info, err := s.Stat(ctx, name)
	if err == nil && info.Size != 0 {
		err = sdk.Retryable(errors.New("Get Blob: the blob was replaced while it was read"), 0)
	}
	return nil, info.Version, err
}

// Stat implements lake.Store. The service keeps no checksum of a whole blob that
// was written in blocks.
func (s *store) Stat(ctx context.Context, name string) (lake.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := s.blob(name).GetProperties(ctx, nil)
	if err != nil {
		return lake.Info{}, s.classify("Get Blob Properties", name, err)
	}
	info := lake.Info{}
	if found.ContentLength != nil {
		info.Size = *found.ContentLength
	}
	info.Version, err = version(found.ETag)
	return info, err
}

// ReadRange implements lake.Store.
func (s *store) ReadRange(ctx context.Context, name string, at lake.Version, offset, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, _, err := s.download(ctx, name, &blob.DownloadStreamOptions{
		Range: blob.HTTPRange{Offset: offset, Count: n}, AccessConditions: expect(at),
	})
	if bloberror.HasCode(err, bloberror.InvalidRange) { // from the blob's end on
		return nil, nil
	}
	return data, err
}

// WriteIf implements lake.Store.
func (s *store) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	return s.put(ctx, name, data, &blockblob.UploadOptions{HTTPHeaders: headers(typeJSON), AccessConditions: expect(prev)})
}

// put writes a whole blob in one request. It discards the uncommitted blocks of the
// name.
func (s *store) put(ctx context.Context, name string, data []byte, o *blockblob.UploadOptions) (lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o.TransactionalValidation, o.CPKScopeInfo = checksum(data), s.scope()
	answer, err := s.blob(name).Upload(ctx, body(data), o)
	if err != nil {
		return "", conditional(o.AccessConditions, s.classify("Put Blob", name, err))
	}
	return version(answer.ETag)
}

// conditional makes a blob that is not found a conflict if the write had a
// condition.
func conditional(c *blob.AccessConditions, err error) error {
	if c != nil && errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	}
	return err
}

// List implements lake.Store. In an account with a hierarchical namespace, names
// are ordered directory by directory.
func (s *store) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	next := s.pages(prefix, deep)
	for {
		items, more, err := next(ctx)
		if err != nil {
			return s.classify("List Blobs", prefix, err)
		}
		for _, item := range items {
			if directory(item) {
				continue
			}
			if err := yield(object(item)); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// pages returns a function that fetches the next page of a list, and reports
// whether more pages follow. A page may be empty and not the last one.
func (s *store) pages(prefix string, deep bool) func(context.Context) ([]*container.BlobItem, bool, error) {
	include := container.ListBlobsInclude{Metadata: true} // it marks directories
	if deep {
		flat := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Include: include})
		return func(ctx context.Context) ([]*container.BlobItem, bool, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			page, err := flat.NextPage(ctx)
			if err != nil || page.Segment == nil {
				return nil, false, err
			}
			return page.Segment.BlobItems, flat.More(), nil
		}
	}
	level := s.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &prefix, Include: include})
	return func(ctx context.Context) ([]*container.BlobItem, bool, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		page, err := level.NextPage(ctx)
		if err != nil || page.Segment == nil {
			return nil, false, err
		}
		return page.Segment.BlobItems, level.More(), nil
	}
}

// directory reports whether an item is a directory of a hierarchical namespace,
// where directories are entities of their own.
func directory(item *container.BlobItem) bool {
	if p := item.Properties; p != nil && p.ResourceType != nil && strings.EqualFold(*p.ResourceType, "directory") {
		return true
	}
	for key, value := range item.Metadata {
		if strings.EqualFold(key, "hdi_isfolder") && value != nil && strings.EqualFold(*value, "true") {
			return true
		}
	}
	return false
}

func object(item *container.BlobItem) lake.Object {
	var o lake.Object
	if item.Name != nil {
		o.Name = *item.Name
	}
	if item.Properties != nil && item.Properties.ContentLength != nil {
		o.Size = *item.Properties.ContentLength
	}
	return o
}

// Delete implements lake.Store. All names are tried before an error is returned.
func (s *store) Delete(ctx context.Context, names []string) error {
	return lake.DeleteEach(ctx, names, func(ctx context.Context, name string) error {
		return s.remove(ctx, name, nil)
	})
}

// remove deletes a blob, its uncommitted blocks too. A blob that does not exist is
// not an error.
func (s *store) remove(ctx context.Context, name string, c *blob.AccessConditions) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.blob(name).Delete(ctx, &blob.DeleteOptions{AccessConditions: c})
	err = s.classify("Delete Blob", name, err)
	if errors.Is(err, lake.ErrNotFound) {
		return nil
	}
	return err
}
