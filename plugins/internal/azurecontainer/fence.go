package azurecontainer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// fenceTries is how often a fence starts again because the blob changed between its
// requests.
const fenceTries = 6

// placeholderKey is the metadata of a placeholder: the blob that a fence writes,
// and then deletes, where there are blocks but no blob. A fence that ends between
// the two requests leaves it; the next fence of the name deletes it, and the next
// commit of an upload replaces it. Its content is an object without rows: its readers
// find an empty set.
const placeholderKey = "penstock_placeholder"

// state is the blob and the blocks that the service holds under one name.
type state struct {
	version     lake.Version // empty: there is no blob
	size        int64
	headers     blob.HTTPHeaders
	placeholder bool

	committed   []string // ids of the blob's blocks; none: it was written in one request
	uncommitted []string // ids
}

// Fence implements lake.Store. Uncommitted blocks of a sealed replacement are
// discarded, and the blob gets a new ETag, which a Switch names. There is one write,
// by the state of the name:
//
//	blob                       blocks  write
//	none                       none    none
//	none                       some    Put Block List of a placeholder, Delete Blob
//	placeholder                any     Delete Blob
//	some                       none    Set Blob Properties to those that it has
//	in blocks                  some    Put Block List of the blob's own blocks
//	written in one request     some    Put Block, Put Block List of its own bytes
//
// Every write is conditional on the state that was read. Set Blob Metadata would
// need the blob's encryption scope, which may be another one than the configured
// one, and would make a version where versioning is on.
func (s *store) Fence(ctx context.Context, name string, _ lake.Attempt) (lake.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	for range fenceTries {
		var v lake.Version
		if v, err = s.fence(ctx, name); !errors.Is(err, lake.ErrConflict) && !errors.Is(err, lake.ErrAborted) {
			return v, err
		}
	}
	return "", sdk.Retryable(fmt.Errorf("%s keeps changing: %w", name, err), 0)
}

func (s *store) fence(ctx context.Context, name string) (lake.Version, error) {
	now, err := s.state(ctx, name)
	switch {
	case err != nil:
		return "", err
	case now.placeholder:
		return "", s.remove(ctx, name, expect(now.version))
	case now.version == "" && len(now.uncommitted) == 0:
		return "", nil
	case now.version == "":
		return "", s.discard(ctx, name, now)
	case len(now.uncommitted) == 0:
		return s.touch(ctx, name, now)
	case len(now.committed) > 0:
		v, err := s.commit(ctx, name, now.committed, &blockblob.CommitBlockListOptions{
			HTTPHeaders: &now.headers, AccessConditions: expect(now.version),
		})
		if bloberror.HasCode(err, bloberror.BlobUsesCustomerSpecifiedEncryption) { // of another scope
			return s.touch(ctx, name, now)
		}
		return v, err
	case now.size <= blockSize:
		return s.rewrite(ctx, name, now)
	}
	// The next commit discards the blocks; they cannot be switched to.
	return s.touch(ctx, name, now)
}

// state reads the blob and its blocks. The two may be of different moments; a write
// on condition of the version then fails.
func (s *store) state(ctx context.Context, name string) (state, error) {
	var now state
	found, err := s.blob(name).GetProperties(ctx, nil)
	err = s.classify("Get Blob Properties", name, err)
	if err == nil {
		now.version, err = version(found.ETag)
		now.headers = blob.ParseHTTPHeaders(found)
		if found.ContentLength != nil {
			now.size = *found.ContentLength
		}
		now.placeholder = metadata(found.Metadata, placeholderKey) != ""
	}
	if err != nil && !errors.Is(err, lake.ErrNotFound) {
		return state{}, err
	}
	list, err := s.blob(name).GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	err = s.classify("Get Block List", name, err)
	if errors.Is(err, lake.ErrNotFound) {
		return now, nil
	}
	if err != nil {
		return state{}, err
	}
	for _, b := range list.CommittedBlocks {
		now.committed = append(now.committed, *b.Name)
	}
	for _, b := range list.UncommittedBlocks {
		now.uncommitted = append(now.uncommitted, *b.Name)
	}
	return now, nil
}

// discard drops the uncommitted blocks of a name without a blob. Delete Blob alone
// would not find them.
func (s *store) discard(ctx context.Context, name string, now state) error {
	empty, err := formats.Empty(name)
	if err != nil {
		return sdk.Permanent(err)
	}
	v, err := s.inOneBlock(ctx, name, empty, now, &blockblob.CommitBlockListOptions{
		HTTPHeaders: headers(formats.ContentType(name)), AccessConditions: expect(""),
		Metadata: map[string]*string{placeholderKey: to.Ptr("true")},
	})
	if err != nil {
		return err
	}
	return s.remove(ctx, name, expect(v))
}

// inOneBlock writes a blob as one block, which discards the blocks of now. Put Blob
// would do the same, but Azurite keeps the blocks, and refuses the condition that
// there is no blob.
func (s *store) inOneBlock(ctx context.Context, name string, data []byte, now state, o *blockblob.CommitBlockListOptions) (lake.Version, error) {
	id, err := otherID(now.uncommitted[0])
	if err != nil {
		return "", err
	}
	if err := s.stage(ctx, name, id, data); err != nil {
		return "", err
	}
	return s.commit(ctx, name, []string{id}, o)
}

// otherID returns a random block id of the same length: all uncommitted blocks of a
// name have ids of one length.
func otherID(id string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return "", sdk.Permanent(fmt.Errorf("the service lists a block with the id %q: %w", id, err))
	}
	_, _ = rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw), nil
}

// touch gives the blob a new ETag.
func (s *store) touch(ctx context.Context, name string, now state) (lake.Version, error) {
	answer, err := s.blob(name).SetHTTPHeaders(ctx, now.headers, &blob.SetHTTPHeadersOptions{AccessConditions: expect(now.version)})
	if err != nil {
		return "", conditional(expect(now.version), s.classify("Set Blob Properties", name, err))
	}
	return version(answer.ETag)
}

// rewrite writes a small blob again, which discards the uncommitted blocks.
func (s *store) rewrite(ctx context.Context, name string, now state) (lake.Version, error) {
	data, v, err := s.Read(ctx, name, blockSize)
	if errors.Is(err, lake.ErrNotFound) || err == nil && v != now.version {
		err = fmt.Errorf("%w: %s", lake.ErrConflict, name)
	}
	if err != nil {
		return "", err
	}
	return s.inOneBlock(ctx, name, data, now, &blockblob.CommitBlockListOptions{HTTPHeaders: &now.headers, AccessConditions: expect(v)})
}
