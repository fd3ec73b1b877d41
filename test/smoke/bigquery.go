package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// bigQuery is a project of BigQuery and the dataset that the comparison creates in it.
type bigQuery struct{ project, location, endpoint, keyFile, dataset string }

// newBigQuery returns the project that the variables name, with the name of a dataset
// that does not exist.
func newBigQuery(lookup func(string) string) (*bigQuery, error) {
	b := &bigQuery{
		project: lookup("SMOKE_BIGQUERY_PROJECT"), location: lookup("SMOKE_BIGQUERY_LOCATION"), endpoint: lookup("SMOKE_BIGQUERY_ENDPOINT"),
		keyFile: lookup("GOOGLE_APPLICATION_CREDENTIALS"), dataset: "penstock_smoke_" + strings.ToLower(rand.Text()[:12]),
	}
	if b.project == "" || b.keyFile == "" {
		return nil, errors.New("the environment needs SMOKE_BIGQUERY_PROJECT, the id of a project, and GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key")
	}
	if b.location == "" {
		b.location = "EU"
	}
	return b, nil
}

// smokeBigQuery runs the comparison with BigQuery and returns the exit status.
func smokeBigQuery(ctx context.Context, in *os.File, out io.Writer) int {
	b, err := newBigQuery(os.Getenv)
	if err != nil {
		fmt.Fprintln(out, "smoke-bigquery: nothing was done:", err)
		return exitUsage
	}
	fmt.Fprintf(out, "smoke-bigquery creates dataset %s in project %s, location %s, with less than 1 MB, which is removed at the end. It runs about 20 scripts, "+
		"each billed for 10 MB of each table that it reads: less than $0.01.\n", b.dataset, b.project, b.location)
	if !agreed(in, out) {
		return exitUsage
	}
	status := 0
	if err := b.compare(ctx); err != nil {
		fmt.Fprintln(out, "smoke-bigquery:", err)
		status = exitFailed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if err := b.remove(ctx); err != nil {
		fmt.Fprintf(out, "Dataset %s is left: %v\n", b.dataset, err)
		return exitFailed
	}
	fmt.Fprintf(out, "Dataset %s is removed.\n", b.dataset)
	return status
}

// compare runs the comparison, which the plugin's tests hold.
func (b *bigQuery) compare(ctx context.Context) error {
	return goTest(ctx, "", "TestAccount", "./plugins/bigquery", "SMOKE_BIGQUERY_DATASET="+b.dataset, "SMOKE_BIGQUERY_LOCATION="+b.location)
}

// remove deletes the dataset with its tables.
func (b *bigQuery) remove(ctx context.Context) error {
	options := []option.ClientOption{option.WithAuthCredentialsFile(option.ServiceAccount, b.keyFile)}
	if b.endpoint != "" {
		options = append(options, option.WithEndpoint(strings.TrimSuffix(b.endpoint, "/")+"/bigquery/v2/"))
	}
	client, err := bigquery.NewClient(ctx, b.project, options...)
	if err != nil {
		return fmt.Errorf("set up the client: %w", err)
	}
	err = client.Dataset(b.dataset).DeleteWithContents(ctx)
	if e := new(googleapi.Error); errors.As(err, &e) && e.Code == http.StatusNotFound {
		return nil
	}
	return err
}
