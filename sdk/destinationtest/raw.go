package destinationtest

import (
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// beginRaw begins the first partition.
func (s *session) beginRaw(date string) error {
	ctx, cancel := s.b.call()
	defer cancel()
	return s.BeginPartition(ctx, sdk.Partition{Date: date})
}

// sendRaw sends a batch with a checksum of the check's own.
func (s *session) sendRaw(b *batch.Batch, sum uint32) error {
	ctx, cancel := s.b.call()
	defer cancel()
	return s.SendWithChecksum(ctx, b, sum)
}

// finish ends the partition and prepares the run, with the right totals of b,
// its only batch.
func (s *session) finish(b *batch.Batch) error {
	ctx, cancel := s.b.call()
	defer cancel()
	var totals batch.Totals
	totals.Add(b)
	if err := s.EndPartition(ctx, totals); err != nil {
		return err
	}
	totals.RowsCRC32 = 0
	_, err := s.Prepare(ctx, totals)
	return err
}
