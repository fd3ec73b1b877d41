package files

import (
	"bytes"
	"fmt"
	"strings"
)

// format is how a file is compressed.
type format string

// The formats. Others are named in magics, and are not read.
const (
	uncompressed format = ""
	gzipped      format = "gzip"
	zstandard    format = "zstd"
)

// readFormats are the formats that are read.
var readFormats = []format{uncompressed, gzipped, zstandard}

// magics are the first bytes of formats. A zstd file may begin with a skippable
// frame, which has one of 16 beginnings.
var magics = []struct {
	bytes  string
	format format
}{
	{"\x1f\x8b\x08", gzipped},
	{"\x28\xb5\x2f\xfd", zstandard},
	{"\xfd7zXZ\x00", "xz"},
	{"\x04\x22\x4d\x18", "lz4"},
	{"PK\x03\x04", "zip"},
	{"\x1f\x9d", "compress (.Z)"},
}

// maxMagic is how many bytes formatOf looks at.
const maxMagic = 6

// formatOf returns the format of a file that begins with begin, of maxMagic bytes
// or all that the file has. The name only matters for bytes that are no known
// beginning, and not that of a record: a damaged .gz file is not a text.
func formatOf(begin []byte, path string) format {
	for _, m := range magics {
		if bytes.HasPrefix(begin, []byte(m.bytes)) {
			return m.format
		}
	}
	switch {
	case isSkippable(begin):
		return zstandard
	case isBzip2(begin):
		return "bzip2"
	}
	named := uncompressed
	switch {
	case strings.HasSuffix(path, ".gz"):
		named = gzipped
	case strings.HasSuffix(path, ".zst"):
		named = zstandard
	}
	if text := bytes.TrimLeft(bytes.TrimPrefix(begin, []byte(byteOrderMark)), " \t\r\n"); len(text) == 0 || text[0] == '{' || text[0] == '[' {
		return uncompressed
	}
	return named
}

// isSkippable reports whether a file begins with a skippable frame of zstd.
func isSkippable(begin []byte) bool {
	return len(begin) >= 4 && begin[0]>>4 == 5 && string(begin[1:4]) == "\x2a\x4d\x18"
}

// isBzip2 reports whether a file begins as bzip2 files do: with the size of its
// blocks, and the first block.
func isBzip2(begin []byte) bool {
	return len(begin) >= 6 && string(begin[:3]) == "BZh" && string(begin[4:6]) == "1A"
}

// unsupportedError says that a file has a format that is not read.
type unsupportedError struct{ format format }

func (e *unsupportedError) Error() string {
	return fmt.Sprintf("it is compressed with %s, which is not read: use gzip or zstd", e.format)
}
