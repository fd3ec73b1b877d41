package gcs

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"cloud.google.com/go/storage"
	raw "google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

const (
	// chunkSize is the size of one request of a resumable upload, in bytes. Each
	// such upload holds one chunk in memory.
	chunkSize = 4 << 20
	// chunkTimeout bounds one request of a resumable upload, chunkDeadline the
	// request with its retries.
	chunkTimeout  = time.Minute
	chunkDeadline = 2 * time.Minute
)

// upload is one object on its way: collected in a shared buffer while it fits,
// a resumable upload from then on. It is used by one goroutine.
type upload struct {
	store  *store
	object *storage.ObjectHandle
	ctx    context.Context
	cancel context.CancelFunc

	buf    []byte          // the bytes so far; nil: no buffer is borrowed
	writer *storage.Writer // of a resumable upload; nil: none begun
	sum    uint32          // CRC-32C of everything so far
	size   int64           // bytes so far
	ended  bool
}

func (s *store) newUpload(ctx context.Context, name string) (*upload, error) {
	o, err := s.object(ctx, name)
	if err != nil {
		return nil, err
	}
	u := &upload{store: s, object: o}
	u.ctx, u.cancel = context.WithCancel(ctx)
	return u, nil
}

// Create implements lake.Store. Each resumable upload has a session of its
// own, so that two attempts at one name do not mix.
func (s *store) Create(ctx context.Context, name string, _ lake.Attempt) (lake.Upload, error) {
	return s.newUpload(ctx, name)
}

// Write implements lake.Upload.
func (u *upload) Write(p []byte) (int, error) {
	if err := u.place(len(p)); err != nil {
		return 0, err
	}
	u.sum = crc32.Update(u.sum, castagnoli, p)
	u.size += int64(len(p))
	if u.writer == nil {
		u.buf = append(u.buf, p...)
		return len(p), nil
	}
	n, err := u.writer.Write(p)
	return n, u.store.classify("storage.objects.create", err)
}

// place sees to it that n more bytes can be taken: by the buffer, or else by a
// resumable upload that begins with the bytes of the buffer.
func (u *upload) place(n int) error {
	if u.writer != nil || (u.buf != nil && len(u.buf)+n <= cap(u.buf)) {
		return nil
	}
	if u.buf == nil && n <= bufferSize {
		buf, err := u.store.buffers.get(u.ctx)
		u.buf = buf
		return err
	}
	u.writer = u.object.NewWriter(u.ctx)
	u.writer.ChunkSize = chunkSize
	u.writer.ChunkTransferTimeout, u.writer.ChunkRetryDeadline = chunkTimeout, chunkDeadline
	u.writer.ContentType, u.writer.KMSKeyName = "application/gzip", u.store.kmsKey
	_, err := u.writer.Write(u.buf)
	u.giveBack()
	return u.store.classify("storage.objects.create", err)
}

// Finish implements lake.Upload.
func (u *upload) Finish(context.Context) error {
	_, err := u.finish()
	return err
}

func (u *upload) finish() (*storage.ObjectAttrs, error) {
	defer u.end()
	if u.writer == nil {
		return u.store.insert(u.ctx, u.object, u.buf, "application/gzip")
	}
	if err := u.writer.Close(); err != nil {
		return nil, u.store.classify("storage.objects.create", err)
	}
	return u.writer.Attrs(), compareCRC(u.object.ObjectName(), u.sum, u.writer.Attrs())
}

// Abort implements lake.Upload. The client stops sending when its context
// ends, and the session is never finished: the service drops it after a week.
// Closing the writer instead would store the bytes so far as a short object.
func (u *upload) Abort(context.Context) error {
	u.end()
	return nil
}

func (u *upload) end() {
	if !u.ended {
		u.ended = true
		u.cancel()
		u.giveBack()
	}
}

func (u *upload) giveBack() {
	u.store.buffers.put(u.buf)
	u.buf = nil
}

// replacement is the next state of an object, written aside under its
// attempt's name and composed over the object's name.
type replacement struct {
	*upload
	name   string // of the object
	aside  string // of the object aside
	prev   lake.Version
	sealed *storage.ObjectAttrs // the object aside; nil: not sealed

	dropped bool // the object aside is deleted
}

// Replace implements lake.Store.
func (s *store) Replace(ctx context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	aside := lake.AsideDir(name) + by.String()
	u, err := s.newUpload(ctx, aside)
	if err != nil {
		return nil, err
	}
	return &replacement{upload: u, name: name, aside: aside, prev: prev}, nil
}

// Seal implements lake.Replacement.
func (r *replacement) Seal(context.Context) error {
	attrs, err := r.finish()
	if err == nil {
		r.sealed = attrs
	}
	return err
}

// Switch implements lake.Replacement.
func (r *replacement) Switch(ctx context.Context) error {
	if r.sealed == nil {
		return errors.New("the replacement is not sealed")
	}
	if err := r.compose(ctx); err != nil {
		return err
	}
	// A left-over object aside is deleted by the next fence.
	return r.discard(ctx)
}

// compose makes the object aside the object of the name, in one step. It names
// the generation of the object aside, so that nothing but the sealed bytes can
// be composed, and the key, which an object does not inherit from its source.
func (r *replacement) compose(ctx context.Context) error {
	expected, err := conditions(r.prev)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.store.callTimeout)
	defer cancel()
	found, err := r.store.connect.get(ctx)
	if err != nil {
		return err
	}
	call := found.api.Objects.Compose(r.store.bucket, r.name, &raw.ComposeRequest{
		Destination:   &raw.Object{ContentType: "application/gzip", Crc32c: encodeCRC(r.sum)},
		SourceObjects: []*raw.ComposeRequestSourceObjects{{Name: r.aside, Generation: r.sealed.Generation}},
	}).IfGenerationMatch(expected.GenerationMatch)
	if r.prev != "" {
		call = call.IfMetagenerationMatch(expected.MetagenerationMatch)
	}
	if r.store.kmsKey != "" {
		call = call.KmsKeyName(r.store.kmsKey)
	}
	err = retry(ctx, func() error {
		_, err := call.Context(ctx).Do()
		return err
	})
	err = r.store.classify("storage.objects.create", err)
	if errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("%w: %w", lake.ErrAborted, err) // a fence has deleted the object aside
	}
	return err
}

// encodeCRC is the form that the service takes: base64 of the big-endian
// bytes. It refuses to compose bytes with another checksum.
func encodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// Abort implements lake.Replacement.
func (r *replacement) Abort(ctx context.Context) error {
	r.end()
	return r.discard(ctx)
}

// discard deletes the object aside, once. An upload whose answer was lost may
// have left one too.
func (r *replacement) discard(ctx context.Context) error {
	if r.dropped {
		return nil
	}
	err := r.store.Delete(ctx, []string{r.aside})
	r.dropped = err == nil
	return err
}
