package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk/batch"
)

// refused reads a file that must be refused, with less memory than most bytes.
func refused(t *testing.T, name string, data []byte, stream batch.Stream, most uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := Read(bytes.NewReader(data), int64(len(data)), stream, func(*columns.Row) error { return nil })
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: %v, want ErrDamaged", name, err)
	} else {
		t.Log(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("%s: reading %d bytes allocated %d", name, len(data), took)
	}
}

func withFooter(body, footer []byte) []byte {
	body = append(bytes.Clone(body), footer...)
	return append(binary.LittleEndian.AppendUint32(body, uint32(len(footer))), "PAR1"...)
}

// The memory of a reader does not follow the numbers that a footer declares.
func TestFootersThatDeclareTooMuch(t *testing.T) {
	many := binary.AppendUvarint([]byte{0x15, 2, 0x19, 0xFC}, 100_000_000) // version 1, a schema of many elements
	refused(t, "a list of 100,000,000 elements", withFooter([]byte("PAR1"), many), batch.Identity, 1<<20)
	refused(t, "structures in structures", withFooter([]byte("PAR1"), bytes.Repeat([]byte{0x1C}, 1<<20)), batch.Identity, 8<<20)
	refused(t, "a long footer", withFooter([]byte("PAR1"), make([]byte, largestFooter+1)), batch.Identity, 1<<20)

	data := encode(t, batch.Identity, "", 1, `{"distinct_id":"a","resolved_distinct_id":"b"}`)
	for name, change := range map[string]func(compressed, uncompressed *int64){
		"a chunk longer than the file":    func(compressed, _ *int64) { *compressed = 1 << 40 },
		"a chunk of negative length":      func(compressed, _ *int64) { *compressed = -1 },
		"a row group larger than a limit": func(_, uncompressed *int64) { *uncompressed = largestGroup + 1 },
	} {
		f, err := file.NewParquetReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		chunk := f.MetaData().RowGroups[0].Columns[1].MetaData
		change(&chunk.TotalCompressedSize, &chunk.TotalUncompressedSize)
		var footer bytes.Buffer
		if _, err := f.MetaData().WriteTo(&footer, nil); err != nil {
			t.Fatal(err)
		}
		length := binary.LittleEndian.Uint32(data[len(data)-8:])
		refused(t, name, withFooter(data[:len(data)-8-int(length)], footer.Bytes()), batch.Identity, 16<<20)
	}
}

// foreign writes rows of links with the properties of another writer.
func foreign(t *testing.T, rows int, id string, options ...parquet.WriterProperty) []byte {
	t.Helper()
	node, err := Schema(batch.Identity)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := file.NewParquetWriter(&out, node, file.WithWriterProps(parquet.NewWriterProperties(options...)))
	g, err := w.AppendRowGroupChecked()
	if err != nil {
		t.Fatal(err)
	}
	for range columns.Of(batch.Identity) {
		c, err := g.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		chunk, ok := c.(*file.ByteArrayColumnChunkWriter)
		if !ok {
			t.Fatalf("column of type %T", c)
		}
		texts, levels := make([]parquet.ByteArray, rows), make([]int16, rows)
		for i := range texts {
			texts[i], levels[i] = parquet.ByteArray(id), 1
		}
		if _, err := chunk.WriteBatch(texts, levels, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Files with features that a Writer does not use are refused, since the library's
// readers of these allocate what a page declares.
func TestForeignFiles(t *testing.T) {
	zstd := parquet.WithCompression(compress.Codecs.Zstd)
	refused(t, "snappy", foreign(t, 3, "a", parquet.WithCompression(compress.Codecs.Snappy)), batch.Identity, 32<<20)
	refused(t, "delta lengths", foreign(t, 3, "a", zstd, parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.DeltaLengthByteArray)), batch.Identity, 32<<20)
	refused(t, "pages of version 2", foreign(t, 3, "a", zstd, parquet.WithDataPageVersion(parquet.DataPageV2)), batch.Identity, 32<<20)
	// One text of a mebibyte in a dictionary, and 500 rows that refer to it.
	refused(t, "a dictionary of long texts", foreign(t, 500, strings.Repeat("x", 1<<20), zstd, parquet.WithDictionaryPageSizeLimit(4<<20)), batch.Identity, 192<<20)
	whole := foreign(t, 3, "a", zstd)
	if lines, err := read(whole, batch.Identity); err != nil || len(lines) != 3 {
		t.Errorf("%d lines, %v of a file of another writer with the same features", len(lines), err)
	}
	page := file.NewDictionaryPage(memory.NewBufferBytes(make([]byte, 100)), 1<<30, parquet.Encodings.Plain)
	if err := checkPage(page); err == nil {
		t.Error("a dictionary of 2^30 values in 100 bytes was accepted")
	}
}

// Of long rows fewer are held at a time.
func TestLongRowsAreReadInSmallSteps(t *testing.T) {
	const long, rows = 1 << 20, 40
	lines := make([]string, rows)
	for i := range lines {
		lines[i] = eventLine(i, `{"a":"`+strings.Repeat("x", long)+`"}`)
	}
	data := encode(t, batch.Events, "", 8, lines...)
	f, err := open(&source{r: bytes.NewReader(data)}, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	step, err := checkGroup(f.RowGroup(0), int64(len(data)))
	if err != nil || step*long > stepBytes {
		t.Errorf("%d rows of %d bytes at a time, %v", step, long, err)
	}
	if got, err := read(data, batch.Events); err != nil || strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("%d rows of %d, %v", len(got), rows, err)
	}
}

// A batch of the largest size in one page is no larger than a reader accepts.
func TestTheLargestBatchIsReadBack(t *testing.T) {
	line := eventLine(1, `{"a":"`+strings.Repeat("x", batch.MaxRowsBytes-200)+`"}`)
	lines := []string{line, eventLine(2, `{}`), line}
	got, err := read(encode(t, batch.Events, "", 1, lines...), batch.Events)
	if err != nil || strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Errorf("%d rows of %d, %v", len(got), len(lines), err)
	}
}

// A page is decompressed into as many bytes as its header declares, whatever the
// frame in it declares or holds.
func TestFramesThatAreLargerThanTheirPage(t *testing.T) {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		t.Fatal(err)
	}
	// A frame with a small window that declares 32 GiB.
	huge := binary.LittleEndian.AppendUint64([]byte{0x28, 0xB5, 0x2F, 0xFD, 0xC0, 0}, 32<<30)
	frames := map[string][]byte{"32 GiB declared": append(huge, 1, 0, 0), "16 MiB of zeros": codec.Encode(nil, make([]byte, 16<<20))}
	if _, err := compress.Decode(codec, make([]byte, 3), codec.Encode(nil, []byte("abc"))); err != nil {
		t.Errorf("a frame that fits: %v", err)
	}
	for name, frame := range frames {
		page := make([]byte, 1000)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := compress.Decode(codec, page, frame)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 8<<20 {
			t.Errorf("%s: %v, %d bytes were allocated", name, err, took)
		}
	}
}
