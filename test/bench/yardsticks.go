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
		_, _ = io.WriteString(w, answer) // the client sees what is missing
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
// some time, as a log without group commit does.
func syncs(dir string, size int, limit time.Duration) (loaded, error) {
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
		begin := time.Now()
		if _, err := f.Write(piece); err != nil {
			return l, err
		}
		if err := f.Sync(); err != nil {
			return l, err
		}
		l.latencies = append(l.latencies, time.Since(begin))
		l.wall = time.Since(start)
	}
	slices.Sort(l.latencies)
	return l, nil
}
