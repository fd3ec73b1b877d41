package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// The sizes that a reader believes, in bytes. The library allocates what the footer
// and the headers of pages declare, so that a damaged or foreign file could take all
// memory. Each is a multiple of the largest size that a Writer makes: a page of
// one batch (batch.MaxRowsBytes), a row group of groupBytes and one batch, and the
// footer of a replaced set of the largest size, below 2 MiB.
const (
	largestPage   = 32 << 20
	largestGroup  = 128 << 20
	largestFooter = 8 << 20
	// chunkBuffer is the size of the reads of one column.
	chunkBuffer = 4 << 20
	// stepBytes is the approximate size of the rows that are held at a time.
	stepBytes = 4 << 20
)

func readerProperties() *parquet.ReaderProperties {
	p := parquet.NewReaderProperties(nil)
	p.BufferedStreamEnabled, p.BufferSize = true, chunkBuffer
	p.MaxCompressedPageSize, p.MaxUncompressedPageSize = largestPage, largestPage
	return p
}

// readFooter reads the metadata of a file. It refuses a footer that is too long, or
// whose lists declare more elements than it has bytes.
func readFooter(r io.ReaderAt, size int64) (*metadata.FileMetaData, error) {
	const tail = 8 // the length of the footer, and PAR1
	if size < tail {
		return nil, fmt.Errorf("it has %d bytes", size)
	}
	end := make([]byte, tail)
	if _, err := io.ReadFull(io.NewSectionReader(r, size-tail, tail), end); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if string(end[4:]) != "PAR1" || length > size-tail {
		return nil, errors.New("it has no footer")
	}
	if length > largestFooter {
		return nil, fmt.Errorf("its footer has %d bytes, at most %d are read", length, largestFooter)
	}
	footer := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(r, size-tail-length, length), footer); err != nil {
		return nil, err
	}
	if c := (compact{rest: footer}); !c.structure() {
		return nil, errors.New("its footer is damaged")
	}
	found, err := metadata.NewFileMetaData(footer, nil)
	if err == nil {
		found.SetSourceFileSize(size)
	}
	return found, err
}

// checkGroup refuses a row group that is larger than those of a Writer, or lies
// outside of the file. It returns the number of rows to read at a time.
func checkGroup(g *file.RowGroupReader, size int64) (step int64, err error) {
	values := int64(0)
	for i := range g.NumColumns() {
		c, err := g.MetaData().ColumnChunk(i)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		start, length := c.DataPageOffset(), c.TotalCompressedSize()
		if c.HasDictionaryPage() && c.DictionaryPageOffset() > 0 {
			start = min(start, c.DictionaryPageOffset())
		}
		if start < 0 || length < 0 || start > size || length > size-start {
			return 0, fmt.Errorf("%w: column %d lies outside of the file", ErrDamaged, i)
		}
		if c.Compression() != compress.Codecs.Zstd || c.CryptoMetadata() != nil {
			return 0, fmt.Errorf("%w: column %d is not compressed with Zstandard, or is encrypted", ErrDamaged, i)
		}
		n := c.TotalUncompressedSize()
		if n < 0 || n > largestGroup || length > largestGroup {
			return 0, fmt.Errorf("%w: column %d of a row group has %d bytes, at most %d are read", ErrDamaged, i, n, largestGroup)
		}
		values += n
	}
	if values > largestGroup {
		return 0, fmt.Errorf("%w: a row group has %d bytes, at most %d are read", ErrDamaged, values, largestGroup)
	}
	return min(max(stepBytes*g.NumRows()/max(values, 1), 1), maxStep), nil
}

// pages passes the pages of a column that a Writer could have made, and ends with an
// error at another one.
type pages struct {
	file.PageReader
	err error
}

// Next implements file.PageReader.
func (p *pages) Next() bool {
	if p.err != nil || !p.PageReader.Next() {
		return false
	}
	p.err = checkPage(p.Page())
	return p.err == nil
}

// Err implements file.PageReader.
func (p *pages) Err() error {
	if p.err != nil {
		return p.err
	}
	return p.PageReader.Err()
}

// checkPage refuses encodings that a Writer does not use, whose decoders allocate
// by the declared number of values, and dictionaries of more values than fit.
func checkPage(p file.Page) error {
	encoding := parquet.Encoding(p.Encoding())
	plain := encoding == parquet.Encodings.Plain || encoding == parquet.Encodings.PlainDict
	switch p.Type() {
	case file.PageTypeDictionaryPage:
		const shortest = 4 // bytes of a value: the length of a text
		if !plain || int64(p.NumValues()) > int64(len(p.Data())/shortest) {
			return fmt.Errorf("dictionary declares %d values in %d bytes", p.NumValues(), len(p.Data()))
		}
	case file.PageTypeDataPage:
		if !plain && encoding != parquet.Encodings.RLEDict {
			return fmt.Errorf("page has the encoding %s", encoding)
		}
	default:
		return fmt.Errorf("page has the type %s", p.Type())
	}
	return nil
}
