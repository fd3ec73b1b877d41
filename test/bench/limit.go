package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
)

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
	piece := make([]byte, 1<<20)
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
