package parquet

import (
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// boundedZstd is the library's codec with another encoder and another decoder. The
// library's decoder allocates the size that a frame declares, up to 64 GiB, where the
// page before it declared another one. Its encoders keep 8 MiB each, for frames that
// are longer than a page.
type boundedZstd struct{ compress.Codec }

// window is the distance in bytes over which the encoder finds repetitions: the
// size of a page.
const window = 1 << 20

// encoders is the number of encoders of the process. Each keeps some 3 MiB, and they
// take turns.
const encoders = 2

// The library looks codecs up in a table of the process.
func init() {
	if codec, err := compress.GetCodec(compress.Codecs.Zstd); err == nil {
		compress.RegisterCodec(compress.Codecs.Zstd, boundedZstd{codec})
	}
}

var zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(encoders),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithAllLitEntropyCompression(true))
})

// EncodeLevel implements compress.Codec. Files are written with one level only.
func (z boundedZstd) EncodeLevel(dst, src []byte, level int) []byte {
	e, err := zstdEncoder()
	if err != nil || level != compressionLevel {
		return z.Codec.EncodeLevel(dst, src, level)
	}
	return e.EncodeAll(src, dst[:0])
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
