package quarantine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/private"
)

// remainder describes the lines that are left of a file.
type remainder struct {
	any    bool // a line that is not empty
	counts counts
}

// copyWithout copies a file with some of its lines empty.
func copyWithout(out io.Writer, in io.Reader, lines map[int]uint64) (remainder, error) {
	left := remainder{counts: counts{}}
	r, w := newLineReader(in), bufio.NewWriterSize(out, 64<<10)
	for n := 1; ; n++ {
		data, err := r.next()
		if errors.Is(err, io.EOF) {
			return left, w.Flush()
		}
		if err != nil {
			return left, err
		}
		if sum, ok := lines[n]; ok && xxh3.Hash(data) == sum {
			data = []byte{'\n'}
		}
		if len(data) > 1 {
			left.any = true
			_ = tally(data, left.counts) // a damaged line stays as it is
		}
		if _, err := w.Write(data); err != nil {
			return left, err
		}
	}
}

// removeFile removes a file, if there is one.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mendTail cuts half a line that a crash has left at the end of a file of the
// given size that entries were appended to, and returns the size that is left.
// With readOnly the file stays as it is.
func mendTail(path string, size int64, readOnly bool) (int64, error) {
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := private.OpenFile(path, flag)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return size, err
	}
	defer f.Close()
	end, err := lastLine(f, size)
	if err == nil && end != size && !readOnly {
		err = f.Truncate(end)
	}
	return end, err
}

// lastLine returns where the last whole line of a file ends.
func lastLine(f io.ReaderAt, size int64) (int64, error) {
	var part [4 << 10]byte
	for end := size; end > 0; {
		from := max(0, end-int64(len(part)))
		if _, err := f.ReadAt(part[:end-from], from); err != nil {
			return size, err
		}
		if i := bytes.LastIndexByte(part[:end-from], '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}
