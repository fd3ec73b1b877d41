package batch

import (
	"errors"
	"io"
	"sync/atomic"
)

// Reader hands out the batches of one partition in order. Next is for one
// goroutine; Reject may be called from several, until Next has returned io.EOF
// and Write is about to return.
type Reader struct {
	next     func() (*Batch, error)
	reject   func(row uint64, reason string, line []byte) error
	totals   Totals
	rejected atomic.Uint64
	err      error
}

// NewReader makes a Reader from its two halves; the SDK and tests of
// destinations call it. next returns io.EOF at the partition's end and is not
// called again after an error. A nil reject refuses rejections.
func NewReader(next func() (*Batch, error), reject func(row uint64, reason string, line []byte) error) *Reader {
	if reject == nil {
		reject = func(uint64, string, []byte) error { return errors.New("rows cannot be rejected here") }
	}
	return &Reader{next: next, reject: reject}
}

// Next returns the next batch, valid until the next call. io.EOF is the
// partition's end: Totals then count all of its rows. Any other error means
// that the stream was cut: the batches read so far are not the whole partition,
// and Write returns the error.
func (r *Reader) Next() (*Batch, error) {
	if r.err != nil {
		return nil, r.err
	}
	b, err := r.next()
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		r.err = err
		return nil, err
	}
	b.First = r.totals.Rows
	r.totals.Add(b)
	return b, nil
}

// Reject tells the host that the destination does not take a row: its index in
// the partition (Batch.First plus its index in the batch), a short reason for
// people and for counting ("string holds U+0000"), and the line as it came.
// The destination does not store the row, PartitionReceipt.Rejected counts it,
// and the host puts it into its quarantine. line may be used
// again after the call.
func (r *Reader) Reject(row uint64, reason string, line []byte) error {
	if err := r.reject(row, reason, line); err != nil {
		return err
	}
	r.rejected.Add(1)
	return nil
}

// Totals returns the totals of the batches that Next has returned so far.
func (r *Reader) Totals() Totals { return r.totals }

// Rejected returns the number of rows that were rejected so far.
func (r *Reader) Rejected() uint64 { return r.rejected.Load() }

// Done reports whether the partition was read to its end.
func (r *Reader) Done() bool { return errors.Is(r.err, io.EOF) }
