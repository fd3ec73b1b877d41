package collector

import (
	"unsafe"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
)

const (
	markSize = int64(unsafe.Sizeof(rowmark.Mark{}))
	// perMark is how many bytes of a record there are to a mark, at least; ownMarks is how many
	// further marks its row has. In the usual event of 700 bytes 25 properties have names, and
	// its row has as many marks and eleven. Rows of which there are more marks have one each.
	perMark  = 20
	ownMarks = 12
	// mostKeptMarks is for how many marks memory is kept.
	mostKeptMarks = 128 << 10
)

// makeMarkRoom takes the memory that the marks of rows need. A request has none before its body
// is there: else each client that is slow, or silent, would hold memory that requests before it used.
func (q *request) makeMarkRoom(records int) error {
	q.mostMarks = len(q.text)/perMark + ownMarks*records
	n := markSize * int64(q.mostMarks)
	if err := q.share.take(q.ctx, n); err != nil {
		return err
	}
	q.markRoom = n
	if marks, _ := q.collector.marks.Get().(*[]rowmark.Mark); marks != nil {
		q.marks = *marks
	}
	return nil
}

// mark adds the marks of the row that p has made last, which begins at start.
func (q *request) mark(p *schema.Collector, start int) {
	switch {
	case len(q.marks)+p.MostMarks() <= q.mostMarks:
		q.marks = p.AppendMarks(q.marks, start)
	case len(q.marks) < q.mostMarks:
		q.marks = schema.AppendUnknown(q.marks, start)
	}
}

// giveMarkRoom gives that memory back.
func (q *request) giveMarkRoom() {
	if marks := q.marks[:0]; cap(marks) > 0 && cap(marks) <= mostKeptMarks {
		q.collector.marks.Put(&marks)
	}
	q.marks = nil
	q.share.give(q.markRoom)
}
