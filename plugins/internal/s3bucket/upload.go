package s3bucket

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags consist of it
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

// maxParts is the largest number of parts of one object in S3.
const maxParts = 10_000

const (
	// partSize is the largest upload of one request, in bytes. S3 accepts parts
	// under 5 MiB only as the last one, and some servers refuse parts over 16 MiB.
	partSize = 5 << 20
	// partBuffers is the number of parts in memory: one is filled while the others
	// are sent.
	partBuffers = 4
)

// upload is a lake.Upload and a lake.Replacement. An upload that fits in one part
// is a single PUT. A larger one, and every replacement, is a multipart upload,
// whose parts are sent while the next part is filled.
type upload struct {
	store *store
	ctx   context.Context
	name  string
	prev  lake.Version // of a replacement

	writer *parts.Writer
	sum    uint32 // CRC-32 of everything so far
	size   int64  // bytes so far
	id     string // of the multipart upload; empty before it is created
	ended  bool

	mu    sync.Mutex
	parts []types.CompletedPart
}

func (s *store) newUpload(ctx context.Context, name string, prev lake.Version) *upload {
	u := &upload{store: s, ctx: ctx, name: name, prev: prev}
	u.writer = parts.NewWriter(ctx, s.buffers, u)
	return u
}

// Create implements lake.Store.
func (s *store) Create(ctx context.Context, name string, _ lake.Attempt) (lake.Upload, error) {
	return s.newUpload(ctx, name, ""), nil
}

// Replace implements lake.Store. Each multipart upload has its own id, which keeps
// the attempts at one name apart.
func (s *store) Replace(ctx context.Context, name string, prev lake.Version, _ lake.Attempt) (lake.Replacement, error) {
	return s.newUpload(ctx, name, prev), nil
}

// Write implements lake.Upload. It waits while all buffers are being sent.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.writer.Write(p)
	u.sum = crc32.Update(u.sum, crc32.IEEETable, p[:n])
	u.size += int64(n)
	return n, err
}

// begin starts the multipart upload.
func (u *upload) begin() error {
	ctx, cancel := context.WithTimeout(u.ctx, u.store.callTimeout)
	defer cancel()
	in := &s3.CreateMultipartUploadInput{
		Bucket: u.store.target(), Key: &u.name,
		ContentType:          aws.String("application/gzip"),
		ServerSideEncryption: u.store.encrypt.algorithm,
		SSEKMSKeyId:          u.store.encrypt.kmsKey,
	}
	u.store.sums.create(in)
	out, err := u.store.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return u.store.classify("s3:PutObject", u.name, err)
	}
	u.id = aws.ToString(out.UploadId)
	return nil
}

// Start implements parts.Sender: the first part starts the multipart upload.
func (u *upload) Start(number int) error {
	if number > maxParts {
		return sdk.Permanent(fmt.Errorf("write %s: it is larger than %d parts of %d bytes", u.name, maxParts, partSize))
	}
	if u.id != "" {
		return nil
	}
	return u.begin()
}

// Send implements parts.Sender.
func (u *upload) Send(number int, data []byte) error {
	part, err := u.sendPart(int32(number), data)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, part)
	return nil
}

func (u *upload) sendPart(number int32, data []byte) (types.CompletedPart, error) {
	ctx, cancel := context.WithTimeout(u.ctx, u.store.callTimeout)
	defer cancel()
	sum, contentMD5 := u.store.sums.of(data)
	out, err := u.store.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: u.store.target(), Key: &u.name, UploadId: &u.id, PartNumber: &number,
		Body: bytes.NewReader(data), ChecksumCRC32: sum, ContentMD5: contentMD5,
	}, u.store.forData...)
	if err != nil {
		return types.CompletedPart{}, u.store.classify("s3:PutObject", u.name, err)
	}
	if err := compareCRC(u.name, sum, out.ChecksumCRC32); err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: sum}, nil
}

// Finish implements lake.Upload.
func (u *upload) Finish(ctx context.Context) error {
	if u.id == "" {
		_, err := u.store.putObject(ctx, u.store.putInput(u.name, u.writer.Held()), u.store.forData...)
		if err == nil {
			u.release()
		}
		return err
	}
	if err := u.Seal(ctx); err != nil {
		return err
	}
	err := u.complete(ctx, nil, nil)
	if !errors.Is(err, lake.ErrAborted) {
		return err
	}
	// A request whose answer was lost may have completed the upload.
	if there, lookErr := u.there(ctx); lookErr != nil || !there {
		return errors.Join(err, lookErr)
	}
	u.release()
	return nil
}

// Seal implements lake.Replacement. It sends the last part, so that the upload is
// in the list that Fence reads, even if it is small.
func (u *upload) Seal(context.Context) error {
	if err := u.writer.Flush(); err != nil {
		return err
	}
	if u.writer.Sent() > 0 {
		return nil
	}
	// The one part of an empty object is empty.
	if err := u.Start(1); err != nil {
		return err
	}
	return u.Send(1, nil)
}

// Switch implements lake.Replacement.
func (u *upload) Switch(ctx context.Context) error {
	ifMatch, ifNoneMatch := conditions(u.prev)
	err := u.complete(ctx, ifMatch, ifNoneMatch)
	if errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("%w: %w", lake.ErrConflict, err) // If-Match of an object that is gone
	}
	return err
}

// complete joins the parts to one object. The service compares the checksum of
// the whole object.
func (u *upload) complete(ctx context.Context, ifMatch, ifNoneMatch *string) error {
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	ctx, cancel := context.WithTimeout(ctx, u.store.callTimeout)
	defer cancel()
	in := &s3.CompleteMultipartUploadInput{
		Bucket: u.store.target(), Key: &u.name, UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		IfMatch:         ifMatch, IfNoneMatch: ifNoneMatch,
	}
	u.store.sums.complete(in, u.sum)
	out, err := u.store.client.CompleteMultipartUpload(ctx, in)
	switch code(err) {
	case "ConditionalRequestConflict":
		return fmt.Errorf("%w: another write of %s was in progress, and the service dropped the upload: %w", lake.ErrAborted, u.name, err)
	case "InvalidPart", "InvalidPartOrder", "InvalidRequest":
		// The service lacks some of the parts: the upload was ended while they were
		// being sent.
		return fmt.Errorf("%w: %w", lake.ErrAborted, err)
	}
	if err != nil {
		return u.store.classify("s3:PutObject", u.name, err)
	}
	if out.ChecksumCRC32 == nil {
		// Some servers report success for an upload that they do not have, if an
		// object of its name exists (versitygw 1.8).
		there, err := u.there(ctx)
		if err == nil && !there {
			err = fmt.Errorf("%w: the service reported %s as complete, but another object is stored there", lake.ErrAborted, u.name)
		}
		if err != nil {
			return err
		}
	}
	u.release()
	return compareCRC(u.name, in.ChecksumCRC32, out.ChecksumCRC32)
}

// there reports whether the stored object is the uploaded one. It compares the
// size and the checksum, or the ETag if the service returns no checksum.
func (u *upload) there(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, u.store.callTimeout)
	defer cancel()
	in := &s3.HeadObjectInput{Bucket: u.store.target(), Key: &u.name}
	if u.store.sums.crc32 {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := u.store.client.HeadObject(ctx, in)
	err = u.store.classify("s3:GetObject", u.name, err)
	if errors.Is(err, lake.ErrNotFound) {
		return false, nil
	}
	if err != nil || aws.ToInt64(out.ContentLength) != u.size {
		return false, err
	}
	if out.ChecksumCRC32 != nil && out.ChecksumType == types.ChecksumTypeFullObject {
		return *out.ChecksumCRC32 == *encodeCRC(u.sum), nil
	}
	return aws.ToString(out.ETag) == u.etag(), nil
}

// etag returns the ETag of an object made of the parts: the MD5 of their MD5s. It
// is not valid with SSE-KMS, where the service returns checksums instead.
func (u *upload) etag() string {
	var sums []byte
	for _, p := range u.parts {
		sum, err := hex.DecodeString(strings.Trim(aws.ToString(p.ETag), `"`))
		if err != nil {
			return ""
		}
		sums = append(sums, sum...)
	}
	return fmt.Sprintf(`"%x-%d"`, md5.Sum(sums), len(u.parts))
}

// release marks the upload as ended and returns its buffers to the pool.
func (u *upload) release() {
	u.ended = true
	u.writer.Drop()
}

// Abort implements lake.Upload.
func (u *upload) Abort(ctx context.Context) error {
	if u.ended {
		return nil
	}
	u.release()
	if u.id == "" {
		return nil
	}
	if err := u.store.abort(ctx, u.name, u.id); err != nil && !errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("abort the upload of %s: %w", u.name, err)
	}
	return nil
}
