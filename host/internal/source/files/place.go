package files

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sort"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/bmatcuk/doublestar/v4"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/s3blob"    // s3://
)

// entry is a file that a pattern names.
type entry struct {
	path    string // names it in cursors and to people
	size    int64
	modTime int64 // unix nanoseconds
	etag    string
	inode   uint64 // 0: not known
	changed int64  // when the inode was changed last, in unix nanoseconds; 0: not known
	// settled says that it has not changed for a while.
	settled bool
}

// listing holds the files that a pattern matches.
type listing struct {
	entries     []entry
	skipped     map[string]string // paths that are not read, and why
	directories int               // that the pattern names, and that are not read
}

func (l *listing) skip(path, why string) {
	if l.skipped == nil {
		l.skipped = map[string]string{}
	}
	l.skipped[path] = why
}

// place is where files are: a directory tree or a bucket.
type place interface {
	// list returns the files that the pattern matches, sorted by path.
	list(ctx context.Context) (listing, error)
	// open opens a file as it is stored, from a position on.
	open(ctx context.Context, path string, from int64) (io.ReadCloser, error)
	close() error
}

// newPlace finds the place of a pattern: a path, or s3:// gs:// azblob:// with
// the bucket, a pattern, and gocloud.dev's parameters behind "?".
func newPlace(ctx context.Context, pattern string) (place, error) {
	scheme, _, ok := strings.Cut(pattern, "://")
	if !ok {
		if !doublestar.ValidatePathPattern(pattern) {
			return nil, fmt.Errorf("%q is not a pattern", pattern)
		}
		return directory{pattern: pattern}, nil
	}
	u, err := url.Parse(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address: %w", pattern, err)
	}
	if scheme == googleScheme {
		return openGoogle(ctx, u)
	}
	address := url.URL{Scheme: scheme, Host: u.Host, RawQuery: u.RawQuery}
	b, err := blob.OpenBucket(ctx, address.String())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s://%s: %w", scheme, u.Host, err)
	}
	return &bucket{b: b, base: scheme + "://" + u.Host + "/", pattern: strings.TrimPrefix(u.Path, "/")}, nil
}

// prefixOf returns the part of a pattern before the first wildcard, up to a slash.
func prefixOf(pattern string) string {
	prefix, _ := doublestar.SplitPattern(pattern)
	if prefix == "." {
		return ""
	}
	return prefix + "/"
}

// bucket is an object store.
type bucket struct {
	b             *blob.Bucket
	base, pattern string
}

func (b *bucket) list(ctx context.Context) (listing, error) {
	prefix := prefixOf(b.pattern)
	var entries []entry
	it := b.b.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return listing{}, fmt.Errorf("list %s%s: %w", b.base, prefix, err)
		}
		if matched, err := doublestar.Match(b.pattern, o.Key); err != nil || !matched || o.IsDir {
			continue
		}
		entries = append(entries, entry{path: b.base + o.Key, size: o.Size, modTime: o.ModTime.UnixNano(), etag: etag(o)})
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].path < entries[j].path })
	return listing{entries: entries}, nil
}

// etag tells versions of an object apart, where its store says so.
func etag(o *blob.ListObject) string {
	var atS3 types.Object
	if o.As(&atS3) && atS3.ETag != nil {
		return *atS3.ETag
	}
	var atAzure container.BlobItem
	if o.As(&atAzure) && atAzure.Properties != nil && atAzure.Properties.ETag != nil {
		return string(*atAzure.Properties.ETag)
	}
	return hex.EncodeToString(o.MD5)
}

func (b *bucket) open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	key := strings.TrimPrefix(path, b.base)
	body, err := b.read(ctx, key, from)
	if err != nil {
		return nil, err
	}
	return &bucketReader{ctx: ctx, bucket: b, key: key, body: body, at: from, broke: -1}, nil
}

func (b *bucket) read(ctx context.Context, key string, from int64) (*blob.Reader, error) {
	return b.b.NewRangeReader(ctx, key, from, -1, &blob.ReaderOptions{BeforeRead: quiet})
}

// quiet keeps the AWS SDK from writing a line to standard error for each object
// that has no checksum.
func quiet(as func(any) bool) error {
	var options *[]func(*s3.Options)
	if as(&options) {
		*options = append(*options, func(o *s3.Options) { o.DisableLogOutputChecksumValidationSkipped = true })
	}
	return nil
}

func (b *bucket) close() error { return b.b.Close() }
