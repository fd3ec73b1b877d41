package gcsbucket

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"cloud.google.com/go/storage"
	raw "google.golang.org/api/storage/v1"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
)

const (
	// chunkSize is the size of one request of a resumable upload, in bytes, and the
	// largest object that one request carries. The service takes multiples of
	// 256 KiB.
	chunkSize = 8 << 20
	// chunkBuffers is the number of chunks in memory: those that are filled, and
	// those on their way.
	chunkBuffers = 4
)

// upload is a lake.Upload. An object that fits in one chunk is inserted in one
// request. A larger one is a resumable upload, of which one chunk is sent while the
// next one is filled.
type upload struct {
	store  *store
	object string // its name
	ctx    context.Context
	cancel context.CancelFunc

	writer *parts.Writer
	sum    uint32 // CRC-32C of everything so far
	size   int64  // bytes so far
	ended  bool

	// turn holds a token while no chunk is being sent. Its holder uses session and
	// err.
	turn    chan struct{}
	session *session // nil: no chunk was sent
	err     error    // the first of a chunk
}

func (s *store) newUpload(ctx context.Context, name string) *upload {
	u := &upload{store: s, object: name, turn: make(chan struct{}, 1)}
	u.ctx, u.cancel = context.WithCancel(ctx)
	u.writer = parts.NewWriter(u.ctx, s.buffers, u)
	u.turn <- struct{}{}
	return u
}

// Create implements lake.Store. Each resumable upload has a session of its
// own, so that two attempts at one name do not mix.
func (s *store) Create(ctx context.Context, name string, _ lake.Attempt) (lake.Upload, error) {
	return s.newUpload(ctx, name), nil
}

// Write implements lake.Upload. It waits while all buffers are being sent.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.writer.Write(p)
	u.sum = crc32.Update(u.sum, gcp.Castagnoli, p[:n])
	u.size += int64(n)
	return n, err
}

// Start implements parts.Sender. It waits until the chunk before is sent, and
// starts the session before the first one.
func (u *upload) Start(int) error {
	select {
	case <-u.turn:
	case <-u.ctx.Done():
		return u.ctx.Err()
	}
	if u.err == nil && u.session == nil {
		u.session, u.err = u.store.newSession(u.ctx, u.object)
	}
	if u.err != nil {
		u.turn <- struct{}{}
	}
	return u.err
}

// Send implements parts.Sender. It holds the turn that Start took.
func (u *upload) Send(number int, data []byte) error {
	defer func() { u.turn <- struct{}{} }()
	_, u.err = u.session.send(u.ctx, chunk{data: data, at: int64(number-1) * chunkSize})
	return u.err
}

// Finish implements lake.Upload.
func (u *upload) Finish(context.Context) error {
	_, err := u.finish()
	return err
}

// finish sends the last bytes and returns the object.
func (u *upload) finish() (*raw.Object, error) {
	defer u.end()
	if err := u.writer.Wait(); err != nil {
		return nil, err
	}
	held := u.writer.Held()
	if u.writer.Sent() == 0 {
		return u.store.insert(u.ctx, u.object, held, formats.ContentType(u.object), storage.Conditions{})
	}
	stored, err := u.session.send(u.ctx, chunk{data: held, at: u.size - int64(len(held)), last: true, sum: u.sum})
	if err != nil {
		return nil, err
	}
	return stored, compareCRC(u.object, u.sum, stored)
}

// Abort implements lake.Upload. The session is never finished: the service drops it
// after a week.
func (u *upload) Abort(context.Context) error {
	u.end()
	return nil
}

// end cuts the request that is on its way and gives the buffers back.
func (u *upload) end() {
	if !u.ended {
		u.ended = true
		u.cancel()
		u.writer.Drop()
	}
}

// replacement is the next state of an object, written aside under its
// attempt's name and composed over the object's name.
type replacement struct {
	*upload
	name   string // of the object
	aside  string // of the object aside
	prev   lake.Version
	sealed *raw.Object // the object aside; nil: not sealed

	dropped bool // the object aside is deleted, or left to the next fence
}

// Replace implements lake.Store.
func (s *store) Replace(ctx context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	aside := lake.AsideDir(name) + by.String()
	return &replacement{upload: s.newUpload(ctx, aside), name: name, aside: aside, prev: prev}, nil
}

// Seal implements lake.Replacement.
func (r *replacement) Seal(context.Context) error {
	stored, err := r.finish()
	if err == nil {
		r.sealed = stored
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
	// The set is switched, whatever becomes of the object aside: the next fence
	// deletes it if this fails.
	_ = r.discard(ctx)
	r.dropped = true
	return nil
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
		Destination:   &raw.Object{ContentType: formats.ContentType(r.name), Crc32c: gcp.EncodeCRC(r.sum)},
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
