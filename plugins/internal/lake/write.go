package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Write stores one partition as the run's next objects of its date, or as the
// replacement of the set. The last objects may still be uploading when it
// returns; Prepare waits for them.
func (l *Lake) Write(ctx context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	a, err := l.attempt(run)
	if err != nil {
		return sdk.PartitionReceipt{}, err
	}
	defer context.AfterFunc(ctx, a.cancel)()
	receipt := PartitionReceipt{Index: p.Index, Date: p.Date}
	a.changed = nil
	if err := a.numberParts(p); err != nil {
		return sdk.PartitionReceipt{}, err
	}
	switch {
	case run.Mode == sdk.Replace && a.repair != nil:
		receipt.Files, err = l.restoreSet(a, p, r)
	case run.Mode == sdk.Replace:
		receipt.Files, err = l.writeSet(a, p, r)
	case p.Date == "":
		err = sdk.Permanent(errors.New("a partition without a date cannot be added to a set by dates"))
	default:
		if err = checkDate(p.Date); err == nil {
			receipt.Files, err = l.writeParts(a, p.Date, r)
		}
	}
	if err != nil {
		return sdk.PartitionReceipt{}, fmt.Errorf("write partition %d: %w", p.Index, l.overtaken(ctx, run, err))
	}
	receipt.uniform()
	a.receipts = append(a.receipts, receipt)
	out := receipt.receipt()
	out.Changed = a.changed
	return out, nil
}

// writeParts cuts the batches into objects. The borders depend only on the
// batches and on PartSize.
func (l *Lake) writeParts(a *attempt, date string, r *batch.Reader) ([]File, error) {
	var files []File
	var open *object
	done := func() {
		a.changes(open.changed)
		files, open = append(files, open.file), nil
	}
	defer func() { open.abandon(a) }()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = a.tasks.failed()
		}
		if err != nil {
			return nil, err
		}
		if open != nil && open.size+int64(len(b.Payload)) > l.partSize {
			if err := open.finish(a); err != nil {
				return nil, err
			}
			done()
		}
		if open == nil {
			a.parts[date]++
			if open, err = l.create(a, a.lay.part(a.run.Number, date, a.parts[date])); err != nil {
				return nil, err
			}
		}
		if err := open.add(b, r); err != nil {
			return nil, err
		}
	}
	if open == nil {
		return files, nil
	}
	if err := open.finish(a); err != nil {
		return nil, err
	}
	done()
	return files, nil
}

// object is one data object that is being written.
type object struct {
	upload  Upload // nil for the fixed object, which the attempt ends
	stored  *measure
	encoder Encoder
	size    int64 // of the batches so far as gzip, in bytes: it decides on the borders of objects
	file    File
	changed map[string]uint64
}

// newObject returns an object whose bytes go to w, with inner as its id; empty: it
// has none.
func (l *Lake) newObject(name string, stream sdk.Stream, inner string, w io.Writer) (*object, error) {
	o := &object{stored: &measure{w: w}, file: File{Name: name}}
	var err error
	if o.encoder, err = l.format.Encode(o.stored, stream, inner); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return o, nil
}

func (l *Lake) create(a *attempt, name string) (*object, error) {
	if a.repair != nil {
		return l.restore(a, name, "")
	}
	u, err := l.store.Create(a.ctx, name, a.by)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	o, err := l.newObject(name, a.run.Stream, "", u)
	if err != nil {
		return nil, errors.Join(err, u.Abort(context.WithoutCancel(a.ctx)))
	}
	o.upload = u
	return o, nil
}

// add adds a batch. Rows that the format cannot hold are rejected through r.
func (o *object) add(b *batch.Batch, r *batch.Reader) error {
	if err := o.encoder.Add(b, r.Reject); err != nil {
		return fmt.Errorf("write %s: %w", o.file.Name, err)
	}
	if o.size == 0 {
		o.size = gzipHeader
	}
	o.size += int64(len(b.Payload))
	return nil
}

// close writes the end of the object.
func (o *object) close() error {
	t, err := o.encoder.Close()
	if err != nil {
		return fmt.Errorf("write %s: %w", o.file.Name, err)
	}
	o.file.Rows, o.file.RowsBytes, o.file.RowsCRC32 = t.Rows, t.RowsBytes, t.RowsCRC32
	o.changed = t.Changed
	o.file.StoredBytes = uint64(o.stored.size)
	o.file.StoredCRC32, o.file.StoredCRC32C = o.stored.crc32, o.stored.crc32c
	return nil
}

// changes adds the changed rows of an object to those of the partition.
func (a *attempt) changes(of map[string]uint64) {
	if len(of) > 0 && a.changed == nil {
		a.changed = make(map[string]uint64)
	}
	for reason, n := range of {
		a.changed[reason] += n
	}
}

// uniform forgets the size and checksum of the rows of all files if they are not
// known of one.
func (p *PartitionReceipt) uniform() {
	if !slices.ContainsFunc(p.Files, func(f File) bool { return f.Rows > 0 && f.RowsBytes == 0 }) {
		return
	}
	for i := range p.Files {
		p.Files[i].RowsBytes, p.Files[i].RowsCRC32 = 0, 0
	}
}

// finish closes the object and finishes its upload in the background.
func (o *object) finish(a *attempt) error {
	if err := o.close(); err != nil {
		return err
	}
	a.tasks.start(func() error {
		if err := o.upload.Finish(a.ctx); err != nil {
			return errors.Join(fmt.Errorf("finish %s: %w", o.file.Name, err), o.upload.Abort(context.WithoutCancel(a.ctx)))
		}
		return nil
	})
	return nil
}

// abandon aborts the upload of an object after an error, which the caller
// reports. A nil object is ignored.
func (o *object) abandon(a *attempt) {
	if o == nil {
		return
	}
	a.tasks.start(func() error { return o.upload.Abort(context.WithoutCancel(a.ctx)) })
}

// put writes a small object and replaces any other of its name.
func put(ctx context.Context, s Store, name string, data []byte, by Attempt) error {
	u, err := s.Create(ctx, name, by)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if _, err = u.Write(data); err == nil {
		err = u.Finish(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), u.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}
