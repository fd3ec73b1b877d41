package laketest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/sdk/batch"
)

// writers is a pool: creating a writer costs more than compressing a batch.
var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Batch compresses rows into a batch, in the same form as the journal.
func Batch(rows []byte) (*batch.Batch, error) {
	var b bytes.Buffer
	w, _ := writers.Get().(*flate.Writer)
	defer writers.Put(w)
	w.Reset(&b)
	if _, err := w.Write(rows); err != nil {
		return nil, fmt.Errorf("compress rows: %w", err)
	}
	if err := w.Flush(); err != nil {
		return nil, fmt.Errorf("compress rows: %w", err)
	}
	return &batch.Batch{
		Rows: bytes.Count(rows, []byte("\n")), Payload: b.Bytes(),
		RowsBytes: len(rows), RowsCRC32: crc32.ChecksumIEEE(rows),
	}, nil
}

// Rows returns n rows, each with the tag and its number.
func Rows(tag string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"distinct_id":"%s-%06d","properties":{"plan":"free","n":%d}}`+"\n", tag, i, i*i)
	}
	return b.Bytes()
}

// linesOf splits rows into lines without their newlines.
func linesOf(rows []byte) []string {
	return strings.Split(strings.TrimSuffix(string(rows), "\n"), "\n")
}

// Reader returns a reader of count batches with size rows each. The same tag
// always yields the same rows.
func Reader(tag string, count, size int) *batch.Reader {
	next := 0
	return batch.NewReader(func() (*batch.Batch, error) {
		if next == count {
			return nil, io.EOF
		}
		next++
		return Batch(Rows(fmt.Sprintf("%s-%d", tag, next), size))
	}, nil)
}
