package parquet

import (
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// boundedZstd is the library's codec with another decoder: the library's allocates
// the size that a frame declares, up to 64 GiB, where the page before it declared
// another one.
type boundedZstd struct{ compress.Codec }

// The library looks codecs up in a table of the process. The encoder stays its own.
func init() {
	if codec, err := compress.GetCodec(compress.Codecs.Zstd); err == nil {
		compress.RegisterCodec(compress.Codecs.Zstd, boundedZstd{codec})
	}
}

var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(largestPage))
})

// DecodeWithError implements compress.ErrorCodec. The result has at most len(dst)
// bytes.
func (boundedZstd) DecodeWithError(dst, src []byte) ([]byte, error) {
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	return d.DecodeAll(src, dst[:0:len(dst)])
}

// Decode implements compress.Codec.
func (z boundedZstd) Decode(dst, src []byte) []byte {
	out, err := z.DecodeWithError(dst, src)
	if err != nil {
		panic(err)
	}
	return out
}
