package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// discard serves HTTP: it reads bodies, decompressed, drops them and always
// answers the same, until it is told to end.
func discard(addr, answer string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			from = z
		}
		if _, err := io.Copy(io.Discard, from); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer) // the client sees a short answer
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// syncs appends size bytes to a file in dir, and syncs it, again and again for
// some time, as a log without group commit does; or, when due says when pieces
// come, all that wait at once, as one with group commit does.
func syncs(dir string, size int, limit time.Duration, due []time.Duration) (loaded, error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return loaded{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	piece := make([]byte, size)
	for i := range piece {
		piece[i] = byte(i * 7)
	}
	var l loaded
	start := time.Now()
	for l.wall < limit {
		begun := []time.Duration{l.wall}
		if due != nil {
			if begun, due = waiting(due, start); begun == nil {
				break
			}
		}
		for range begun {
			if _, err := f.Write(piece); err != nil {
				return l, err
			}
		}
		if err := f.Sync(); err != nil {
			return l, err
		}
		l.wall = time.Since(start)
		for _, at := range begun {
			l.latencies = append(l.latencies, l.wall-at)
		}
	}
	slices.Sort(l.latencies)
	return l, nil
}

// waiting waits until the next piece is due, and returns the pieces that are due
// by then and the others.
func waiting(due []time.Duration, start time.Time) (now, later []time.Duration) {
	if len(due) == 0 {
		return nil, nil
	}
	time.Sleep(due[0] - time.Since(start))
	n, passed := 0, time.Since(start)
	for n < len(due) && due[n] <= passed {
		n++
	}
	return due[:n], due[n:]
}
