package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// callTimeout bounds one call with all its retries, so that a server that
// stopped in the middle is an error and not a wait.
const callTimeout = 3 * time.Minute

// store is a bucket as a lake.Store. The version of an object is its ETag.
type store struct {
	client  *s3.Client
	bucket  string
	encrypt encryption
	buffers *buffers
	// forData are options of the calls that carry rows.
	forData []func(*s3.Options)
}

// encryption is what the store asks of the service for new objects.
type encryption struct {
	algorithm types.ServerSideEncryption // empty: the bucket's default
	kmsKey    *string
}

func (s *store) target() *string { return &s.bucket }

// Read implements lake.Store.
func (s *store) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := &s3.GetObjectInput{Bucket: s.target(), Key: &name}
	if limit <= 64<<10 {
		in.Range = aws.String(fmt.Sprintf("bytes=0-%d", limit-1))
	}
	out, err := s.client.GetObject(ctx, in)
	if code(err) == "InvalidRange" { // the object is empty
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

// WriteIf implements lake.Store.
func (s *store) WriteIf(ctx context.Context, name string, data []byte, prev lake.Version) (lake.Version, error) {
	in := s.putInput(name, data, crc32.ChecksumIEEE(data))
	in.ContentType = aws.String("application/json")
	in.IfMatch, in.IfNoneMatch = conditions(prev)
	out, err := s.putObject(ctx, in)
	if errors.Is(err, lake.ErrNotFound) {
		err = fmt.Errorf("%w: %w", lake.ErrConflict, err) // If-Match of an object that is gone
	}
	if err != nil {
		return "", err
	}
	return lake.Version(aws.ToString(out.ETag)), nil
}

func conditions(prev lake.Version) (ifMatch, ifNoneMatch *string) {
	if prev == "" {
		return nil, aws.String("*")
	}
	return aws.String(string(prev)), nil
}

func (s *store) putInput(name string, data []byte, sum uint32) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket: s.target(), Key: &name, Body: bytes.NewReader(data),
		ChecksumCRC32:        aws.String(encodeCRC(sum)),
		ContentType:          aws.String("application/gzip"),
		ServerSideEncryption: s.encrypt.algorithm,
		SSEKMSKeyId:          s.encrypt.kmsKey,
	}
}

func (s *store) putObject(ctx context.Context, in *s3.PutObjectInput, options ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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

// compareCRC holds the service's checksum against ours. A server that returns
// none has still checked the one that was sent, or knows no checksums.
func compareCRC(name string, sent, returned *string) error {
	if returned == nil || *returned == *sent {
		return nil
	}
	return sdk.Retryable(fmt.Errorf("write %s: the service stored bytes with CRC-32 %s, sent were bytes with %s", name, *returned, *sent), 0)
}

// encodeCRC is the form that S3 takes: base64 of the big-endian bytes.
func encodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// List implements lake.Store.
func (s *store) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	in := &s3.ListObjectsV2Input{Bucket: s.target(), Prefix: &prefix}
	if !deep {
		in.Delimiter = aws.String("/")
	}
	pages := s3.NewListObjectsV2Paginator(s.client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
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

// Delete implements lake.Store.
func (s *store) Delete(ctx context.Context, names []string) error {
	for chunk := range slices.Chunk(names, 1000) {
		ids := make([]types.ObjectIdentifier, len(chunk))
		for i, name := range chunk {
			ids[i].Key = aws.String(name)
		}
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: s.target(), Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return s.classify("s3:DeleteObject", chunk[0], err)
		}
		for _, e := range out.Errors {
			if code := aws.ToString(e.Code); code != "NoSuchKey" {
				return s.classifyCode("s3:DeleteObject", aws.ToString(e.Key), code, 0,
					fmt.Errorf("%s: %s", code, aws.ToString(e.Message)))
			}
		}
	}
	return nil
}

// Fence implements lake.Store. It needs two permissions that plain writing
// does not; without them no fence would hold. An upload that is just being
// completed escapes the list, and moves the object on from the version that
// is returned or from one before it: either way the condition finds it.
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
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
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
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: s.target(), Key: &name, UploadId: &id})
	err = s.classify("s3:AbortMultipartUpload", name, err)
	if errors.Is(err, lake.ErrAborted) {
		return nil
	}
	return err
}
