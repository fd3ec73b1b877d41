package redshift

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata/types"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// firstPause is the time between the first two questions for a statement's
	// state; each is twice as long as the one before, up to longestPause.
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	maxWait      = 5 * time.Minute
	// cancelTimeout bounds the call that cancels a statement.
	cancelTimeout = 15 * time.Second
)

// warehouse is a Redshift database, reached through the Data API. It creates the
// external schema and the views, and remembers that they exist; it is safe for concurrent use.
type warehouse struct {
	client *redshiftdata.Client
	config config
	region string // of the catalog

	mu    sync.Mutex // guards ready
	ready bool
}

const lookUp = "SELECT databasename, esoptions FROM svv_external_schemas WHERE schemaname = :schema"

// ensure creates the external schema and the views if they do not exist, and grants
// their use. It asks Redshift once in the life of the process: a serverless workgroup that is
// woken costs money.
func (w *warehouse) ensure(ctx context.Context) error {
	w.mu.Lock()
	done := w.ready
	w.mu.Unlock()
	if done {
		return nil
	}
	if err := w.schema(ctx); err != nil {
		return w.schemaError(err)
	}
	if err := w.views(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = true
	return nil
}

// check looks the external schema and the view up. What Open is going to create may be
// missing.
func (w *warehouse) check(ctx context.Context) error {
	found, err := w.found(ctx)
	if err == nil && found != "" {
		err = w.showsCatalog(found)
	}
	if err != nil || !w.config.wantsResolved() {
		return w.schemaError(err)
	}
	_, _, err = w.foundView(ctx)
	return w.viewError(err)
}

// schemaError names the external schema in an error; nil stays nil.
func (w *warehouse) schemaError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("external schema %s: %w", w.config.ExternalSchema, err)
}

// showsCatalog refuses a schema that shows another database of Glue.
func (w *warehouse) showsCatalog(found string) error {
	if found == w.config.GlueDatabase {
		return nil
	}
	return sdk.Configuration(fmt.Errorf("it exists and shows the database %q, not %q", found, w.config.GlueDatabase),
		"set external_schema to a name of its own, or drop the schema in Redshift")
}

func (w *warehouse) schema(ctx context.Context) error {
	found, err := w.found(ctx)
	if err != nil {
		return err
	}
	if found == "" {
		// IF NOT EXISTS needs the privilege to create even when the schema exists, so
		// that it is looked up first. It must not run in a transaction.
		if _, err := w.run(ctx, w.create()); err != nil {
			return err
		}
		if found, err = w.found(ctx); err != nil {
			return err
		}
	}
	if found == "" {
		// The view shows a user only the schemas that it may use.
		return sdk.Configuration(errors.New("a schema of this name exists; it is not external, or the database user of the Data API may not use it"),
			"grant that user USAGE on the schema, set external_schema to a name of its own, or drop the schema in Redshift")
	}
	if err := w.showsCatalog(found); err != nil {
		return err
	}
	for _, grantee := range w.config.GrantUsageTo {
		if _, err := w.run(ctx, grantTo(w.config.ExternalSchema, grantee)); err != nil {
			return err
		}
	}
	return nil
}

// found returns the database of Glue that the schema shows; empty: it does not
// exist.
func (w *warehouse) found(ctx context.Context) (string, error) {
	rows, err := w.run(ctx, lookUp, types.SqlParameter{Name: aws.String("schema"), Value: &w.config.ExternalSchema})
	if err != nil || len(rows) == 0 || len(rows[0]) == 0 {
		return "", err
	}
	text, ok := rows[0][0].(*types.FieldMemberStringValue)
	if !ok {
		return "", sdk.Permanent(fmt.Errorf("svv_external_schemas has a databasename of type %T", rows[0][0]))
	}
	return text.Value, nil
}

func (w *warehouse) create() string {
	role := "default"
	if w.config.SpectrumRoleARN != "" {
		role = literal(w.config.SpectrumRoleARN)
	}
	region := ""
	if w.region != "" {
		region = " REGION " + literal(w.region)
	}
	return fmt.Sprintf("CREATE EXTERNAL SCHEMA IF NOT EXISTS %s FROM DATA CATALOG DATABASE %s%s IAM_ROLE %s",
		identifier(w.config.ExternalSchema), literal(w.config.GlueDatabase), region, role)
}

// grantTo returns the statement for a grantee as the configuration writes it.
func grantTo(schema, grantee string) string {
	return "GRANT USAGE ON SCHEMA " + identifier(schema) + " TO " + recipient(grantee)
}

// grantMissing tells which grant readers need if the configuration grants nothing.
func (w *warehouse) grantMissing() string {
	if len(w.config.GrantUsageTo) > 0 {
		return ""
	}
	return "users other than its owner cannot read the external schema yet: set grant_usage_to = [\"role analysts\"], or run " + grantTo(w.config.ExternalSchema, "role analysts") + " with the names of the readers"
}

// recipient returns a grantee of the configuration as statements name it.
func recipient(grantee string) string {
	kind := ""
	for _, k := range []string{"role ", "group "} {
		if name, ok := strings.CutPrefix(grantee, k); ok {
			kind, grantee = strings.ToUpper(k), name
		}
	}
	return kind + identifier(grantee)
}

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
func literal(text string) string    { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// run executes one statement, outside of a transaction, and returns its rows.
func (w *warehouse) run(ctx context.Context, text string, parameters ...types.SqlParameter) ([][]types.Field, error) {
	in := &redshiftdata.ExecuteStatementInput{
		Sql: &text, Database: &w.config.Database, Parameters: parameters,
		// A request that the client sends again starts no second statement.
		ClientToken: aws.String(rand.Text()),
	}
	if w.config.WorkgroupARN != "" {
		in.WorkgroupName = &w.config.WorkgroupARN
	} else {
		in.ClusterIdentifier = &w.config.ClusterIdentifier
	}
	if w.config.DBUser != "" {
		in.DbUser = &w.config.DBUser
	}
	started, err := limited(ctx, w, in, w.client.ExecuteStatement)
	if err != nil {
		return nil, classify(err)
	}
	hasRows, err := w.wait(ctx, aws.ToString(started.Id))
	if err != nil || !hasRows {
		return nil, err
	}
	out, err := limited(ctx, w, &redshiftdata.GetStatementResultInput{Id: started.Id}, w.client.GetStatementResult)
	if err != nil {
		return nil, classify(err)
	}
	return out.Records, nil
}

// limited makes one call with a deadline, which covers its retries.
func limited[In, Out any](ctx context.Context, w *warehouse, in In, call func(context.Context, In, ...func(*redshiftdata.Options)) (Out, error)) (Out, error) {
	ctx, stop := context.WithTimeout(ctx, cmp.Or(w.config.maxCall, callTimeout))
	defer stop()
	return call(ctx, in)
}

// longest is the time that a statement may take.
func (w *warehouse) longest() time.Duration { return cmp.Or(w.config.maxWait, maxWait) }

// wait asks for the state of a statement until it has ended. A statement that does
// not end, or whose caller gives up, is cancelled.
func (w *warehouse) wait(ctx context.Context, id string) (hasRows bool, err error) {
	end := time.NewTimer(w.longest())
	defer end.Stop()
	first := cmp.Or(w.config.firstPause, firstPause)
	next := time.NewTimer(first)
	defer next.Stop()
	for pause := first; ; pause = min(2*pause, longestPause) {
		out, err := limited(ctx, w, &redshiftdata.DescribeStatementInput{Id: &id}, w.client.DescribeStatement)
		if err != nil {
			return false, w.giveUp(ctx, id, classify(err))
		}
		switch out.Status {
		case types.StatusStringFinished:
			return aws.ToBool(out.HasResultSet), nil
		case types.StatusStringFailed:
			return false, w.config.failure(aws.ToString(out.Error))
		case types.StatusStringAborted:
			return false, sdk.Retryable(fmt.Errorf("statement %s was cancelled in Redshift", id), 0)
		}
		next.Reset(pause)
		select {
		case <-next.C:
		case <-end.C:
			return false, w.giveUp(ctx, id, sdk.Retryable(fmt.Errorf("statement %s did not end within %s", id, w.longest()), 0))
		case <-ctx.Done():
			return false, w.giveUp(ctx, id, ctx.Err())
		}
	}
}

// giveUp cancels a statement that may still run, and returns why with the outcome
// of that. It works when ctx has ended, too.
func (w *warehouse) giveUp(ctx context.Context, id string, why error) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	if _, err := w.client.CancelStatement(ctx, &redshiftdata.CancelStatementInput{Id: &id}); err != nil {
		return fmt.Errorf("%w; statement %s could not be cancelled and may still run: %w", why, id, err)
	}
	return fmt.Errorf("%w; statement %s was cancelled", why, id)
}

// failure classifies the text of a failed statement.
func (c config) failure(text string) error {
	err := fmt.Errorf("Redshift: %s", text)
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "permission denied") || strings.Contains(lower, "must be owner") || strings.Contains(lower, "not authorized"):
		return sdk.Configuration(err, c.neededGrants())
	case strings.Contains(lower, "does not exist"):
		return sdk.Configuration(err, "database, grant_usage_to or spectrum_role_arn names something that Redshift does not have")
	case strings.Contains(lower, "syntax error"):
		return sdk.Permanent(err)
	}
	return sdk.Retryable(err, 0)
}

// neededGrants tells which permissions the database user and Redshift's own role need.
func (c config) neededGrants() string {
	user := "the database user of the Data API"
	if c.databaseUser() == anyRole {
		user += " (" + anyRole + " stands for its name: IAMR: with the name of a role, or IAM: with that of a user)"
	}
	text := user + " needs CREATE on the database: " + c.grantCreate()
	if c.wantsResolved() {
		text += "; if the schema " + c.viewsSchema() + " was there before, it needs CREATE on it, too"
	}
	return text + "; with grant_usage_to it must own the schema; Redshift's own role (spectrum_role_arn) must be attached to the workgroup or cluster"
}
