package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/penstock-io/penstock/test/objectstore"
)

// The exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// removeTime bounds the removal of the objects.
const removeTime = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, in *os.File, out io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(out, "usage: smoke s3|gcs|azure|bigquery|snowflake|redshift")
		return exitUsage
	}
	if args[0] == "bigquery" {
		return smokeBigQuery(ctx, in, out)
	}
	if args[0] == "snowflake" {
		return smokeSnowflake(ctx, in, out)
	}
	if args[0] == "redshift" {
		return smokeRedshift(ctx, in, out)
	}
	store, err := objectstore.Named(args[0])
	if err != nil {
		fmt.Fprintln(out, "smoke:", err)
		return exitUsage
	}
	prefix := objectstore.NewPrefix()
	bucket, err := store.Account(os.LookupEnv, prefix)
	if err != nil {
		fmt.Fprintf(out, "smoke-%s: nothing was done: %v\n", store.Type, err)
		return exitUsage
	}
	fmt.Fprintf(out, "smoke-%s creates %s.\n", store.Type, bucket.Creates)
	if !agreed(in, out) {
		return exitUsage
	}
	status := 0
	if err := compare(ctx, store.Type, prefix); err != nil {
		fmt.Fprintf(out, "smoke-%s: %v\n", store.Type, err)
		status = exitFailed
	}
	return max(status, remove(ctx, bucket, out))
}

// agreed asks whether to go on, unless YES is 1.
func agreed(in *os.File, out io.Writer) bool {
	if os.Getenv("YES") == "1" {
		return true
	}
	if !isatty.IsTerminal(in.Fd()) {
		fmt.Fprintln(out, "Nothing was done: set YES=1 to agree.")
		return false
	}
	fmt.Fprint(out, "Go on? [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		fmt.Fprintln(out, "Nothing was done.")
		return false
	}
	return true
}

// compare runs the comparison, which DuckDB's module holds.
func compare(ctx context.Context, store, prefix string) error {
	return goTest(ctx, "test/queries", "TestSmoke", ".", "CGO_ENABLED=1", "SMOKE="+store, "SMOKE_PREFIX="+prefix)
}

// goTest runs one test of a package in a directory, with variables in addition to the
// environment. When ctx ends it is interrupted, and killed a minute later.
func goTest(ctx context.Context, dir, test, name string, variables ...string) error {
	command := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=30m", "-v", "-run=^"+test+"$", name)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	command.Dir = dir
	command.Env = append(os.Environ(), variables...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("the comparison: %w", err)
	}
	return nil
}

// remove removes the objects of the comparison, also when ctx has ended.
func remove(ctx context.Context, bucket *objectstore.Bucket, out io.Writer) int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	n, err := bucket.Remove(ctx)
	fmt.Fprintf(out, "Removed %d objects.\n", n)
	if err != nil {
		fmt.Fprintf(out, "Some are left: %v\n", err)
		return exitFailed
	}
	return 0
}
