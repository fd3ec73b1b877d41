package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// limitPiece is how many bytes of input the limit compresses at a time.
const limitPiece = 1 << 20

// limit reads a file and gzips it in pieces of 1 MiB on all processors; the
// compressed bytes are counted and dropped.
func limit(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var turn sync.Mutex
	var wg sync.WaitGroup
	var total int64
	errs := make([]error, runtime.GOMAXPROCS(0))
	for i := range errs {
		wg.Go(func() {
			var n int64
			n, errs[i] = gzipPieces(f, &turn)
			turn.Lock()
			total += n
			turn.Unlock()
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	fmt.Println(total)
	return nil
}

func gzipPieces(f io.Reader, turn *sync.Mutex) (int64, error) {
	piece := make([]byte, limitPiece)
	var out counter
	z, err := gzip.NewWriterLevel(&out, 1)
	if err != nil {
		return 0, err
	}
	for {
		turn.Lock()
		n, err := io.ReadFull(f, piece)
		turn.Unlock()
		if err == io.EOF {
			return int64(out), nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		z.Reset(&out)
		if _, err := z.Write(piece[:n]); err != nil {
			return 0, err
		}
		if err := z.Close(); err != nil {
			return 0, err
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// levelOne counts the bytes to which the limit's library compresses what is written,
// in the limit's pieces.
type levelOne struct {
	piece []byte
	out   counter
	z     *gzip.Writer
}

func newLevelOne() *levelOne {
	l := &levelOne{piece: make([]byte, 0, limitPiece)}
	l.z, _ = gzip.NewWriterLevel(&l.out, 1) // the level exists
	return l
}

func (l *levelOne) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), cap(l.piece)-len(l.piece))
		l.piece, p = append(l.piece, p[:n]...), p[n:]
		if len(l.piece) == cap(l.piece) {
			if err := l.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (l *levelOne) flush() error {
	l.z.Reset(&l.out)
	if _, err := l.z.Write(l.piece); err != nil {
		return err
	}
	l.piece = l.piece[:0]
	return l.z.Close()
}

// size returns the number of compressed bytes of everything that was written.
func (l *levelOne) size() (int64, error) {
	var err error
	if len(l.piece) > 0 {
		err = l.flush()
	}
	return int64(l.out), err
}
