package s3bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
)

// callTimeout bounds one call with all its retries, so that a server that hangs
// leads to an error.
const callTimeout = 3 * time.Minute

// store implements lake.Store over a bucket. The version of an object is its ETag.
type store struct {
	client  *s3.Client
	bucket  string
	arn     string // the bucket's, for hints
	encrypt encryption
	sums    sums
	buffers *parts.Pool
	// forData are the additional options of calls that carry rows.
	forData []func(*s3.Options)

	callTimeout time.Duration // of one call with all its retries
}

// encryption is the server-side encryption that requests ask for.
type encryption struct {
	algorithm types.ServerSideEncryption // empty: the bucket's default
	kmsKey    *string
}

func (s *store) target() *string { return &s.bucket }

// Read implements lake.Store.
func (s *store) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	in := &s3.GetObjectInput{Bucket: s.target(), Key: &name}
	if limit <= 64<<10 {
		in.Range = aws.String(fmt.Sprintf("bytes=0-%d", limit-1))
	}
	out, err := s.client.GetObject(ctx, in)
	if code(err) == "InvalidRange" { // an empty object has no ranges
		in.Range = nil
		out, err = s.client.GetObject(ctx, in)
	}
	if err != nil {
		return nil, "", s.classify("s3:GetObject", name, err)
	}
	defer func() { _ = out.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(out.Body, limit))
	if err != nil {
		return nil, "", s.classify("s3:GetObject", name, err)
	}
	return data, lake.Version(aws.ToString(out.ETag)), nil
}

// Stat implements lake.Store. The service returns the CRC-32 of the whole object
// if it was written with checksums = "crc32".
func (s *store) Stat(ctx context.Context, name string) (lake.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	in := &s3.HeadObjectInput{Bucket: s.target(), Key: &name}
	if s.sums.crc32 {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := s.client.HeadObject(ctx, in)
	if err != nil {
		return lake.Info{}, s.classify("s3:GetObject", name, err)
	}
	info := lake.Info{Version: lake.Version(aws.ToString(out.ETag)), Size: aws.ToInt64(out.ContentLength)}
	if out.ChecksumType != types.ChecksumTypeComposite {
		info.Sums.CRC32 = decodeCRC(out.ChecksumCRC32)
		info.Sums.CRC32C = decodeCRC(out.ChecksumCRC32C)
	}
	return info, nil
}

// ReadRange implements lake.Store.
func (s *store) ReadRange(ctx context.Context, name string, at lake.Version, offset, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: s.target(), Key: &name, IfMatch: aws.String(string(at)), Range: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)),
	})
	if code(err) == "InvalidRange" { // from the object's end on
		return nil, nil
	}
	if err != nil {
		return nil, s.classify("s3:GetObject", name, err)
	}
	defer func() { _ = out.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(out.Body, n))
	if err != nil {
		return nil, s.classify("s3:GetObject", name, err)
	}
	return data, nil
}

// WriteIf implements lake.Store.
func (s *store) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	in := s.putInput(name, data)
	in.ContentType = aws.String("application/json")
	in.IfMatch, in.IfNoneMatch = conditions(prev)
	out, err := s.putObject(ctx, in, retryConflicts)
	if errors.Is(err, lake.ErrNotFound) {
		err = fmt.Errorf("%w: %w", lake.ErrConflict, err) // If-Match of an object that is gone
	}
	if err != nil {
		return "", err
	}
	return lake.Version(aws.ToString(out.ETag)), nil
}

// retryConflicts makes the client repeat a conditional PUT that collided with
// another request; the service then checks the condition again. It must not be
// used for CompleteMultipartUpload, whose upload is gone after such a collision.
func retryConflicts(o *s3.Options) {
	o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict")
}

func conditions(prev lake.Version) (ifMatch, ifNoneMatch *string) {
	if prev == "" {
		return nil, aws.String("*")
	}
	return aws.String(string(prev)), nil
}

func (s *store) putInput(name string, data []byte) *s3.PutObjectInput {
	crc, contentMD5 := s.sums.of(data)
	return &s3.PutObjectInput{
		Bucket: s.target(), Key: &name, Body: bytes.NewReader(data),
		ChecksumCRC32: crc, ContentMD5: contentMD5,
		ContentType:          aws.String("application/gzip"),
		ServerSideEncryption: s.encrypt.algorithm,
		SSEKMSKeyId:          s.encrypt.kmsKey,
	}
}

func (s *store) putObject(ctx context.Context, in *s3.PutObjectInput, options ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	out, err := s.client.PutObject(ctx, in, options...)
	if err != nil {
		return nil, s.classify("s3:PutObject", *in.Key, err)
	}
	if err := compareCRC(*in.Key, in.ChecksumCRC32, out.ChecksumCRC32); err != nil {
		return nil, err
	}
	return out, nil
}

// List implements lake.Store.
func (s *store) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	in := &s3.ListObjectsV2Input{Bucket: s.target(), Prefix: &prefix}
	if !deep {
		in.Delimiter = aws.String("/")
	}
	pages := s3.NewListObjectsV2Paginator(s.client, in)
	next := func() (*s3.ListObjectsV2Output, error) {
		ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
		defer cancel()
		return pages.NextPage(ctx)
	}
	for pages.HasMorePages() {
		page, err := next()
		if err != nil {
			return s.classify("s3:ListBucket", prefix, err)
		}
		for _, o := range page.Contents {
			if err := yield(lake.Object{Name: aws.ToString(o.Key), Size: aws.ToInt64(o.Size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// manyDeletes is the number of objects from which one request deletes up to a
// thousand of them. Fewer are deleted one by one, which needs no checksum.
const manyDeletes = 10

// Delete implements lake.Store.
func (s *store) Delete(ctx context.Context, names []string) error {
	if len(names) >= manyDeletes && s.sums.crc32 {
		return s.deleteMany(ctx, names)
	}
	return lake.DeleteEach(ctx, names, s.deleteOne)
}

func (s *store) deleteOne(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: s.target(), Key: &name})
	err = s.classify("s3:DeleteObject", name, err)
	if errors.Is(err, lake.ErrNotFound) {
		return nil
	}
	return err
}

func (s *store) deleteMany(ctx context.Context, names []string) error {
	for chunk := range slices.Chunk(names, 1000) {
		if err := s.deleteChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// deleteChunk deletes at most a thousand objects in one request.
func (s *store) deleteChunk(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	ids := make([]types.ObjectIdentifier, len(names))
	for i, name := range names {
		ids[i].Key = aws.String(name)
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: s.target(), Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
	})
	if err != nil {
		return s.classify("s3:DeleteObject", names[0], err)
	}
	for _, e := range out.Errors {
		if code := aws.ToString(e.Code); code != "NoSuchKey" {
			return s.classifyCode("s3:DeleteObject", aws.ToString(e.Key), code, 0,
				fmt.Errorf("%s: %s", code, aws.ToString(e.Message)))
		}
	}
	return nil
}

// Fence implements lake.Store. It needs the permissions to list and to abort
// uploads. An upload that is being completed during the call may escape the list.
// It then changes the object's version before or after the call reads it: in the
// first case the caller starts from the new version, in the second the caller's
// own switch fails.
func (s *store) Fence(ctx context.Context, name string, _ lake.Attempt) (lake.Version, error) {
	if err := s.EndUploads(ctx, name, func(of string) bool { return of == name }); err != nil {
		return "", err
	}
	_, version, err := s.Read(ctx, name, 1)
	if errors.Is(err, lake.ErrNotFound) {
		return "", nil
	}
	return version, err
}

// EndUploads implements lake.UploadEnder.
func (s *store) EndUploads(ctx context.Context, prefix string, match func(string) bool) error {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: s.target(), Prefix: &prefix})
	next := func() (*s3.ListMultipartUploadsOutput, error) {
		ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
		defer cancel()
		return pages.NextPage(ctx)
	}
	for pages.HasMorePages() {
		page, err := next()
		if err != nil {
			return s.classify("s3:ListBucketMultipartUploads", prefix, err)
		}
		for _, u := range page.Uploads {
			if name := aws.ToString(u.Key); match(name) {
				if err := s.abort(ctx, name, aws.ToString(u.UploadId)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *store) abort(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: s.target(), Key: &name, UploadId: &id})
	err = s.classify("s3:AbortMultipartUpload", name, err)
	if errors.Is(err, lake.ErrAborted) {
		return nil
	}
	return err
}
