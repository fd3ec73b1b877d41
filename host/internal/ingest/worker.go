package ingest

import "github.com/penstock-io/penstock/host/internal/journal"

// worker makes rows of pieces, and fragments of rows.
type worker struct {
	parse  parser
	packer *journal.Packer // may be nil
	// spare is memory for the rows of the next piece. While all rows become fragments
	// it is the same again and again, and stays in the processor's cache.
	spare []byte
}

func newWorker(o *Options) *worker {
	k := &worker{parse: o.parser()}
	if o.Packer != nil {
		k.packer = o.Packer()
	}
	return k
}

// do does the part of a task that needs no order, and gives the piece's data back.
func (k *worker) do(t *task) {
	r := t.result
	if k.spare != nil {
		r.data, k.spare = k.spare, nil
	}
	if r.data == nil {
		r.data = make([]byte, 0, 3*len(t.piece.Data)/2)
	}
	r.parse(k.parse, t.piece)
	r.count = int64(len(r.rows))
	if t.piece.Release != nil {
		t.piece.Release()
	}
	if k.packer != nil {
		k.pack(r)
	}
}

// pack makes fragments of the rows of a result.
func (k *worker) pack(r *result) {
	c := journal.Chunk{Fragments: r.packed, Rows: r.rows, Data: r.data, Marks: r.marks}
	r.err = k.packer.Pack(&c)
	r.packed, r.rows = c.Fragments, c.Rows
	if len(r.rows) == 0 {
		k.spare, r.data = r.data[:0], nil
	}
}
