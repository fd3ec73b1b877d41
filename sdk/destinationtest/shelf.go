package destinationtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// perFile is how many payloads a shelf keeps in one file, so that a run reads several
// files, and several payloads of each.
const perFile = 3

// shelf keeps the payloads of a session in files, as a host does in its journal.
type shelf struct {
	dir  string
	puts int
}

// put appends a payload to a file and returns its place.
func (s *shelf) put(payload []byte) (at protocol.Extent, err error) {
	at = protocol.Extent{File: fmt.Sprintf("segments/%d", s.puts/perFile), Length: len(payload)}
	s.puts++
	path := filepath.Join(s.dir, at.File)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return at, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return at, err
	}
	at.Offset = info.Size()
	_, err = f.Write(payload)
	return at, err
}

// Send sends a batch: its payload, or the payload's place with Harness.Extents.
func (s *session) Send(ctx context.Context, b *batch.Batch) error {
	return s.SendWithChecksum(ctx, b, protocol.PayloadCRC32C(b.Payload))
}

// SendWithChecksum is Send with a checksum of the check's own.
func (s *session) SendWithChecksum(ctx context.Context, b *batch.Batch, sum uint32) error {
	if s.shelf == nil {
		return s.Exporter.SendWithChecksum(ctx, b, sum)
	}
	at, err := s.shelf.put(b.Payload)
	if err != nil {
		return fmt.Errorf("keep a payload: %w", err)
	}
	bare := *b
	bare.Payload = nil
	return s.SendExtent(ctx, &bare, sum, at)
}
