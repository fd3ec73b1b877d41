package quarantine

import (
	"bufio"
	"errors"
	"io"
)

// maxLine is the most bytes of a line: a record of MaxRecord bytes in base64,
// and the members before it.
const maxLine = MaxRecord/3*4 + 1<<20

// errLine says that a file holds a line that no store has written.
var errLine = errors.New("a line has no end")

// lineReader reads a file line by line. It holds one line in memory.
type lineReader struct {
	r    *bufio.Reader
	line []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next line with its line feed, which only the last line of a
// file may lack; io.EOF behind the last. The line is valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.line)+len(part) > maxLine {
			return nil, errLine
		}
		l.line = append(l.line, part...)
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(l.line) > 0:
			return l.line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
