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

// writers are used again: to make one costs more than to compress a batch.
var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Batch makes a batch of rows as the journal would.
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

// Rows makes n rows that tell their tag and number.
func Rows(tag string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"distinct_id":"%s-%06d","properties":{"plan":"free","n":%d}}`+"\n", tag, i, i*i)
	}
	return b.Bytes()
}

// linesOf are rows without their newlines.
func linesOf(rows []byte) []string {
	return strings.Split(strings.TrimSuffix(string(rows), "\n"), "\n")
}

// Reader yields count batches of size rows each, always the same for a tag.
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
