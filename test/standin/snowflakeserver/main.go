package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "snowflake-standin:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	var o server.Options
	listen := flag.String("listen", "127.0.0.1:0", "the address")
	flag.StringVar(&o.Account, "account", "standin", "the account's name")
	flag.StringVar(&o.Storage.Endpoint, "storage", "", "the https address of an S3 server for internal stages; empty: there are none")
	flag.StringVar(&o.Storage.Advertised, "advertise", "", "host:port of the S3 server as drivers are told; empty: that of -storage")
	flag.StringVar(&o.Storage.Bucket, "bucket", "stages", "the bucket of internal stages")
	flag.StringVar(&o.Storage.AccessKey, "access", "", "the access key of the S3 server")
	flag.StringVar(&o.Storage.SecretKey, "secret", "", "the secret key of the S3 server")
	flag.StringVar(&o.Storage.Certificate, "certificate", "", "a file with the S3 server's certificate")
	flag.StringVar(&o.Storage.Google, "google", "", "the address of a Cloud Storage server for external stages; empty: there are none")
	flag.StringVar(&o.Storage.Azure, "azure", "", "the address of an Azure Blob server for external stages, without the account; empty: there are none")
	flag.StringVar(&o.Storage.AzureAccount, "azure-account", "", "the storage account at the Azure Blob server")
	flag.StringVar(&o.Storage.AzureKey, "azure-key", "", "the key of the storage account")
	flag.StringVar(&o.Record, "record", "", "a file that gets each distinct statement")
	flag.Parse()
	if o.Temp, err = os.MkdirTemp("", "snowflake-standin-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Temp)) }()
	s, err := server.New(o)
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
