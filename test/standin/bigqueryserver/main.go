package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bigquery-standin:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	listen := flag.String("listen", "127.0.0.1:0", "the address")
	projects := flag.String("projects", "acme", "the projects that exist, with commas between")
	tokenInfo := flag.String("tokeninfo", "", "the address of a service that knows the bearers; empty: none is asked for")
	storage := flag.String("storage", "", "the address of a storage server, for loads from gs://")
	record := flag.String("record", "", "a file that gets each distinct statement")
	flag.Parse()
	temp, err := os.MkdirTemp("", "bigquery-standin-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	s, err := server.New(server.Options{TokenInfo: *tokenInfo, Storage: *storage, Temp: temp, Record: *record, Projects: strings.Split(*projects, ",")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	h := &http.Server{Addr: *listen, Handler: s.Handler()}
	go func() {
		<-ctx.Done()
		_ = h.Close()
	}()
	if err := h.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
