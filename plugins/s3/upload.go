package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// maxParts is what S3 takes for one object.
const maxParts = 10_000

// upload is one object on its way: a single PUT when it fits into one part
// and is not fenced, else a multipart upload whose parts go out while the next
// one fills.
type upload struct {
	store *store
	ctx   context.Context
	name  string

	buf   []byte // the part that fills; nil: none borrowed
	sum   uint32 // CRC-32 of everything so far
	next  int32  // number of the next part, from 1
	id    string // of the multipart upload; empty: none begun
	ended bool

	wg    sync.WaitGroup
	mu    sync.Mutex
	parts []types.CompletedPart
	err   error // the first of a part
}

// Create implements lake.Store.
func (s *store) Create(ctx context.Context, name string) (lake.Upload, error) {
	return &upload{store: s, ctx: ctx, name: name, next: 1}, nil
}

// CreateFenced implements lake.Store.
func (s *store) CreateFenced(ctx context.Context, name string) (lake.Upload, error) {
	u := &upload{store: s, ctx: ctx, name: name, next: 1}
	return u, u.begin()
}

// Write implements lake.Upload. It waits while all buffers are on their way.
func (u *upload) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := u.room(); err != nil {
			return written, err
		}
		n := min(len(p), cap(u.buf)-len(u.buf))
		u.buf = append(u.buf, p[:n]...)
		u.sum = crc32.Update(u.sum, crc32.IEEETable, p[:n])
		p, written = p[n:], written+n
	}
	return written, nil
}

// room sees to it that the buffer can take a byte.
func (u *upload) room() (err error) {
	if u.buf != nil && len(u.buf) == cap(u.buf) {
		if err := u.flush(); err != nil {
			return err
		}
	}
	if u.buf == nil {
		u.buf, err = u.store.buffers.get(u.ctx)
	}
	return err
}

// begin starts the multipart upload.
func (u *upload) begin() error {
	ctx, cancel := context.WithTimeout(u.ctx, callTimeout)
	defer cancel()
	out, err := u.store.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: u.store.target(), Key: &u.name,
		ContentType:          aws.String("application/gzip"),
		ChecksumAlgorithm:    types.ChecksumAlgorithmCrc32,
		ChecksumType:         types.ChecksumTypeFullObject,
		ServerSideEncryption: u.store.encrypt.algorithm,
		SSEKMSKeyId:          u.store.encrypt.kmsKey,
	})
	if err != nil {
		return u.store.classify("s3:PutObject", u.name, err)
	}
	u.id = aws.ToString(out.UploadId)
	return nil
}

// flush sends the buffer as the next part, beside the writer.
func (u *upload) flush() error {
	if u.id == "" {
		if err := u.begin(); err != nil {
			return err
		}
	}
	if u.next > maxParts {
		return sdk.Permanent(fmt.Errorf("write %s: it is larger than %d parts of %d bytes", u.name, maxParts, partSize))
	}
	number, buf := u.next, u.buf
	u.next, u.buf = u.next+1, nil
	u.wg.Go(func() {
		defer u.store.buffers.put(buf)
		u.sent(u.sendPart(number, buf))
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

func (u *upload) sendPart(number int32, data []byte) (types.CompletedPart, error) {
	ctx, cancel := context.WithTimeout(u.ctx, callTimeout)
	defer cancel()
	sum := aws.String(encodeCRC(crc32.ChecksumIEEE(data)))
	out, err := u.store.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: u.store.target(), Key: &u.name, UploadId: &u.id, PartNumber: &number,
		Body: bytes.NewReader(data), ChecksumCRC32: sum,
	}, u.store.forData...)
	if err != nil {
		return types.CompletedPart{}, u.store.classify("s3:PutObject", u.name, err)
	}
	if err := compareCRC(u.name, sum, out.ChecksumCRC32); err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: sum}, nil
}

func (u *upload) sent(part types.CompletedPart, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		u.parts = append(u.parts, part)
	} else if u.err == nil {
		u.err = err
	}
}

// Finish implements lake.Upload.
func (u *upload) Finish(ctx context.Context) error {
	if u.id != "" {
		return u.complete(ctx, nil, nil)
	}
	_, err := u.store.putObject(ctx, u.store.putInput(u.name, u.buf, u.sum), u.store.forData...)
	if err == nil {
		u.release()
	}
	return err
}

// FinishIf implements lake.Upload.
func (u *upload) FinishIf(ctx context.Context, prev lake.Version) error {
	ifMatch, ifNoneMatch := conditions(prev)
	return u.complete(ctx, ifMatch, ifNoneMatch)
}

// complete sends what is left and makes the parts one object. The service
// compares the checksum of the whole.
func (u *upload) complete(ctx context.Context, ifMatch, ifNoneMatch *string) error {
	if u.buf != nil || u.next == 1 { // the one part of an empty object is empty
		if err := u.flush(); err != nil {
			return err
		}
	}
	u.wg.Wait()
	if u.err != nil {
		return u.err
	}
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sum := aws.String(encodeCRC(u.sum))
	out, err := u.store.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: u.store.target(), Key: &u.name, UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
		ChecksumCRC32:   sum, ChecksumType: types.ChecksumTypeFullObject,
		IfMatch: ifMatch, IfNoneMatch: ifNoneMatch,
	})
	if err != nil {
		return u.store.classify("s3:PutObject", u.name, err)
	}
	u.release()
	return compareCRC(u.name, sum, out.ChecksumCRC32)
}

// release ends the upload and gives back the buffer.
func (u *upload) release() {
	u.ended = true
	u.store.buffers.put(u.buf)
	u.buf = nil
}

// Abort implements lake.Upload.
func (u *upload) Abort(ctx context.Context) error {
	if u.ended {
		return nil
	}
	u.wg.Wait()
	u.release()
	if u.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := u.store.abort(ctx, u.name, u.id); err != nil && !errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("abort the upload of %s: %w", u.name, err)
	}
	return nil
}
