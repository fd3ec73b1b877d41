package azurecontainer

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

const (
	// blockSize is the size of one block, in bytes, and the most that one request
	// carries.
	blockSize = 5 << 20
	// blockBuffers is the number of blocks in memory: one is filled while the others
	// are sent.
	blockBuffers = 4
	// maxBlocks is the largest number of blocks of one blob.
	maxBlocks = 50_000
)

// upload is a lake.Upload and a lake.Replacement. An upload that fits in one block
// is a single Put Blob. A larger one, and every replacement, is made of blocks,
// which are sent while the next one is filled, and a Put Block List.
//
// Abort sends no request: uncommitted blocks are invisible, and are discarded by the
// next commit of the name, by a fence, or by the service after a week. Discarding
// them here could discard those of a newer attempt.
type upload struct {
	store   *store
	name    string
	by      lake.Attempt
	prev    lake.Version // of a replacement
	replace bool

	writer *parts.Writer
	ctx    context.Context

	mu      sync.Mutex // guards cleared; held while left-over blocks are discarded
	cleared bool
}

func (s *store) newUpload(ctx context.Context, name string, by lake.Attempt) *upload {
	u := &upload{store: s, ctx: ctx, name: name, by: by}
	u.writer = parts.NewWriter(ctx, s.pool, u)
	return u
}

// Create implements lake.Store.
func (s *store) Create(ctx context.Context, name string, by lake.Attempt) (lake.Upload, error) {
	return s.newUpload(ctx, name, by), nil
}

// Replace implements lake.Store. An empty replacement has no blocks, so that a
// fence cannot end it where there is no blob; sets of a Lake are never empty.
func (s *store) Replace(ctx context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	u := s.newUpload(ctx, name, by)
	u.prev, u.replace = prev, true
	return u, nil
}

// Write implements lake.Upload. It waits while all buffers are being sent.
func (u *upload) Write(p []byte) (int, error) { return u.writer.Write(p) }

// blockID returns the id of a block: the attempt and the number. All ids of a blob
// must have one length.
func (u *upload) blockID(number int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%05d", u.by, number))
}

// Start implements parts.Sender.
func (u *upload) Start(number int) error {
	if number > maxBlocks {
		return sdk.Permanent(fmt.Errorf("write %s: it is larger than %d blocks of %d bytes", u.name, maxBlocks, blockSize))
	}
	return nil
}

// Send implements parts.Sender. Uncommitted blocks that were left under the name
// are discarded when they are in the way: their ids have another length, as those of
// other programs do, or there are as many as the service keeps. In the second case
// the upload loses its own earlier blocks too, and the next attempt succeeds.
func (u *upload) Send(number int, data []byte) error {
	err := u.stage(number, data)
	if u.replace || !bloberror.HasCode(err, bloberror.InvalidBlobOrBlock, bloberror.InvalidBlockID, bloberror.BlockCountExceedsLimit) {
		return err
	}
	if err := u.clear(); err != nil {
		return err
	}
	return u.stage(number, data)
}

func (u *upload) stage(number int, data []byte) error {
	return u.store.stage(u.ctx, u.name, u.blockID(number), data)
}

// stage stores an uncommitted block of a name.
func (s *store) stage(ctx context.Context, name, id string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.blob(name).StageBlock(ctx, id, body(data), &blockblob.StageBlockOptions{
		TransactionalValidation: checksum(data), CPKScopeInfo: s.scope(),
	})
	return s.classify("Put Block", name, err)
}

// clear discards the blocks that were left under the name, once: later calls would
// discard the upload's own.
func (u *upload) clear() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cleared {
		return nil
	}
	_, err := u.store.Fence(u.ctx, u.name, u.by)
	u.cleared = err == nil
	return err
}

// Finish implements lake.Upload.
func (u *upload) Finish(ctx context.Context) error {
	if u.writer.Sent() == 0 {
		_, err := u.store.put(ctx, u.name, u.writer.Held(), &blockblob.UploadOptions{HTTPHeaders: headers(formats.ContentType(u.name))})
		if err == nil {
			u.writer.Drop()
		}
		return err
	}
	if err := u.Seal(ctx); err != nil {
		return err
	}
	return u.commit(ctx, nil)
}

// Seal implements lake.Replacement. It sends the last block, so that a fence finds
// at least one.
func (u *upload) Seal(context.Context) error { return u.writer.Flush() }

// Switch implements lake.Replacement.
func (u *upload) Switch(ctx context.Context) error { return u.commit(ctx, expect(u.prev)) }

func (u *upload) commit(ctx context.Context, c *blob.AccessConditions) error {
	ids := make([]string, u.writer.Sent())
	for i := range ids {
		ids[i] = u.blockID(i + 1)
	}
	_, err := u.store.commit(ctx, u.name, ids, &blockblob.CommitBlockListOptions{HTTPHeaders: headers(formats.ContentType(u.name)), AccessConditions: c})
	return err
}

// commit makes blocks the content of a blob, and discards all other uncommitted
// blocks of the name. A request that is sent again after its answer was lost finds
// the blocks among the committed ones.
func (s *store) commit(ctx context.Context, name string, ids []string, o *blockblob.CommitBlockListOptions) (lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o.CPKScopeInfo = s.scope()
	answer, err := s.blob(name).CommitBlockList(ctx, ids, o)
	if bloberror.HasCode(err, bloberror.InvalidBlockList, bloberror.InvalidBlobOrBlock, bloberror.InvalidBlockID) {
		return "", fmt.Errorf("%w: %w", lake.ErrAborted, s.describe("Put Block List", err))
	}
	if err != nil {
		return "", conditional(o.AccessConditions, s.classify("Put Block List", name, err))
	}
	return version(answer.ETag)
}

// Abort implements lake.Upload.
func (u *upload) Abort(context.Context) error {
	u.writer.Drop()
	return nil
}

// metadata returns the value of a blob's metadata, whose keys come in any case.
func metadata(all map[string]*string, key string) string {
	for k, v := range all {
		if strings.EqualFold(k, key) && v != nil {
			return *v
		}
	}
	return ""
}
