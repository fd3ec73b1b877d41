package gcsbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

// callTimeout bounds one call with all its retries: the client itself retries
// without an end.
const callTimeout = 3 * time.Minute

// fenceKey is the member of an object's metadata that a fence writes.
const fenceKey = "penstock-fence"

// store is a bucket as a lake.Store. The version of an object is its
// generation, which each write of its bytes moves on, and its metageneration,
// which a fence moves on.
type store struct {
	connect *connector
	bucket  string
	kmsKey  string
	buffers *parts.Pool

	callTimeout time.Duration // of one call with all its retries
}

func newStore(c config, shared *parts.Pool) *store {
	return &store{connect: &connector{config: c}, bucket: c.Bucket, kmsKey: c.KMSKey, buffers: shared, callTimeout: callTimeout}
}

func (s *store) object(ctx context.Context, name string) (*storage.ObjectHandle, error) {
	client, err := s.connect.get(ctx)
	if err != nil {
		return nil, err
	}
	return client.Bucket(s.bucket).Object(name), nil
}

func versionOf(generation, metageneration int64) lake.Version {
	return lake.Version(fmt.Sprintf("%d/%d", generation, metageneration))
}

// conditions are those of a write that expects an object at prev.
func conditions(prev lake.Version) (storage.Conditions, error) {
	if prev == "" {
		return storage.Conditions{DoesNotExist: true}, nil
	}
	var c storage.Conditions
	if _, err := fmt.Sscanf(string(prev), "%d/%d", &c.GenerationMatch, &c.MetagenerationMatch); err != nil {
		return c, sdk.Permanent(fmt.Errorf("%q is not a version of an object in Cloud Storage: %w", prev, err))
	}
	return c, nil
}

// location is where the bucket's data lie, as in "US-CENTRAL1".
func (s *store) location(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	client, err := s.connect.get(ctx)
	if err != nil {
		return "", err
	}
	attrs, err := client.Bucket(s.bucket).Attrs(ctx)
	if err != nil {
		return "", s.classify("storage.buckets.get", err)
	}
	return attrs.Location, nil
}

// Read implements lake.Store.
func (s *store) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	o, err := s.object(ctx, name)
	if err != nil {
		return nil, "", err
	}
	r, err := o.NewRangeReader(ctx, 0, limit)
	if status(err) == http.StatusRequestedRangeNotSatisfiable { // the object is empty
		return s.readEmpty(ctx, o)
	}
	if err != nil {
		return nil, "", s.classify("storage.objects.get", err)
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, "", s.classify("storage.objects.get", err)
	}
	return data, versionOf(r.Attrs.Generation, r.Attrs.Metageneration), nil
}

func (s *store) readEmpty(ctx context.Context, o *storage.ObjectHandle) ([]byte, lake.Version, error) {
	attrs, err := o.Attrs(ctx)
	if err != nil {
		return nil, "", s.classify("storage.objects.get", err)
	}
	if attrs.Size != 0 {
		return nil, "", sdk.Retryable(fmt.Errorf("read %s: it was replaced while it was read", o.ObjectName()), 0)
	}
	return nil, versionOf(attrs.Generation, attrs.Metageneration), nil
}

// Stat implements lake.Store.
func (s *store) Stat(ctx context.Context, name string) (lake.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	o, err := s.object(ctx, name)
	if err != nil {
		return lake.Info{}, err
	}
	attrs, err := o.Attrs(ctx)
	if err != nil {
		return lake.Info{}, s.classify("storage.objects.get", err)
	}
	return lake.Info{
		Version: versionOf(attrs.Generation, attrs.Metageneration), Size: attrs.Size, Sums: lake.Sums{CRC32C: &attrs.CRC32C},
	}, nil
}

// ReadRange implements lake.Store.
func (s *store) ReadRange(ctx context.Context, name string, at lake.Version, offset, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	expected, err := conditions(at)
	if err != nil {
		return nil, err
	}
	o, err := s.object(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := o.If(expected).NewRangeReader(ctx, offset, n)
	if status(err) == http.StatusRequestedRangeNotSatisfiable { // from the object's end on
		return nil, nil
	}
	if err != nil {
		return nil, s.classify("storage.objects.get", err)
	}
	defer func() { _ = r.Close() }()
	if found := versionOf(r.Attrs.Generation, r.Attrs.Metageneration); found != at {
		return nil, fmt.Errorf("%w: %s is at version %s", lake.ErrConflict, name, found) // the server ignores conditions of reads
	}
	data, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, s.classify("storage.objects.get", err)
	}
	return data, nil
}

// WriteIf implements lake.Store.
func (s *store) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	expected, err := conditions(prev)
	if err != nil {
		return "", err
	}
	stored, err := s.insert(ctx, name, data, "application/json", expected)
	if errors.Is(err, lake.ErrNotFound) {
		err = fmt.Errorf("%w: %w", lake.ErrConflict, err) // a condition on an object that is gone
	}
	if err != nil {
		return "", err
	}
	return versionOf(stored.Generation, stored.Metageneration), nil
}

// List implements lake.Store.
func (s *store) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	client, err := s.connect.get(ctx)
	if err != nil {
		return err
	}
	query := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if !deep {
		query.Delimiter = "/"
	}
	if err := query.SetAttrSelection([]string{"Name", "Size"}); err != nil {
		return sdk.Permanent(fmt.Errorf("list %s: %w", prefix, err))
	}
	for token := ""; ; {
		var page []*storage.ObjectAttrs
		if page, token, err = s.page(ctx, client.Bucket(s.bucket), query, token); err != nil {
			return s.classify("storage.objects.list", err)
		}
		for _, o := range page {
			if o.Prefix != "" {
				continue // a directory
			}
			if err := yield(lake.Object{Name: o.Name, Size: o.Size}); err != nil {
				return err
			}
		}
		if token == "" {
			return nil
		}
	}
}

// pageSize is the number of objects in one page of a list, the service's own.
const pageSize = 1000

// page returns the page of a list that starts at token, and the token of the next
// one; empty: it is the last one.
func (s *store) page(ctx context.Context, b *storage.BucketHandle, query *storage.Query, token string) (page []*storage.ObjectAttrs, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	next, err = iterator.NewPager(b.Objects(ctx, query), pageSize, token).NextPage(&page)
	return page, next, err
}

// Delete implements lake.Store. All names are tried before an error is
// returned.
func (s *store) Delete(ctx context.Context, names []string) error {
	return lake.DeleteEach(ctx, names, s.deleteOne)
}

func (s *store) deleteOne(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	o, err := s.object(ctx, name)
	if err != nil {
		return err
	}
	err = s.classify("storage.objects.delete", o.Delete(ctx))
	if errors.Is(err, lake.ErrNotFound) {
		return nil
	}
	return err
}

// Fence implements lake.Store. It deletes the objects aside, which a
// switch needs, and then moves the object's metageneration on, which a switch
// names.
func (s *store) Fence(ctx context.Context, name string, by lake.Attempt) (lake.Version, error) {
	if err := s.emptyAside(ctx, name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	o, err := s.object(ctx, name)
	if err != nil {
		return "", err
	}
	attrs, err := o.Update(ctx, storage.ObjectAttrsToUpdate{Metadata: map[string]string{fenceKey: by.String()}})
	err = s.classify("storage.objects.update", err)
	if errors.Is(err, lake.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return versionOf(attrs.Generation, attrs.Metageneration), nil
}

func (s *store) emptyAside(ctx context.Context, name string) error {
	var names []string
	err := s.List(ctx, lake.AsideDir(name), true, func(o lake.Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err != nil {
		return err
	}
	return s.Delete(ctx, names)
}

// status is the HTTP status of a service's answer; 0: there was none.
func status(err error) int {
	if e := gcp.Answer(err); e != nil {
		return e.Code
	}
	return 0
}
