package redshift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata/types"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk"
)

const (
	// resolvedView is the value of views that creates resolvedName.
	resolvedView = "resolved"
	resolvedName = "mp_master_event_resolved"
)

// lookUpView returns a row if the schema exists, with the view's name and text if that does.
const lookUpView = "SELECT n.nspname, v.viewname, v.definition FROM pg_namespace n LEFT JOIN pg_views v ON v.schemaname = n.nspname AND v.viewname = :view WHERE n.nspname = :schema"

func (c config) wantsResolved() bool { return slices.Contains(c.Views, resolvedView) }

// viewsSchema is the schema of the views: an external schema holds none.
func (c config) viewsSchema() string { return cmp.Or(c.ViewsSchema, c.ExternalSchema+"_views") }

// views creates the view of events with resolved ids and its schema if they do not
// exist, and grants their use. A view that exists is not replaced, so that its grants
// stay.
func (w *warehouse) views(ctx context.Context) error {
	if !w.config.wantsResolved() {
		return nil
	}
	return w.viewError(w.createViews(ctx))
}

// viewError names the view in an error; nil stays nil.
func (w *warehouse) viewError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("view %s.%s: %w", w.config.viewsSchema(), resolvedName, err)
}

func (w *warehouse) createViews(ctx context.Context) error {
	hasSchema, hasView, err := w.foundView(ctx)
	if err != nil {
		return err
	}
	if !hasSchema {
		if _, err := w.run(ctx, "CREATE SCHEMA IF NOT EXISTS "+identifier(w.config.viewsSchema())); err != nil {
			return err
		}
	}
	if !hasView {
		if err := w.createResolved(ctx); err != nil {
			return err
		}
	}
	for _, grantee := range w.config.GrantUsageTo {
		if _, err := w.run(ctx, grantTo(w.config.viewsSchema(), grantee)); err != nil {
			return err
		}
		if _, err := w.run(ctx, "GRANT SELECT ON "+w.config.resolved()+" TO "+recipient(grantee)); err != nil {
			return err
		}
	}
	return nil
}

// createResolved creates the view. A view that another process has created since is
// accepted.
func (w *warehouse) createResolved(ctx context.Context) error {
	_, err := w.run(ctx, w.config.createResolved())
	if err == nil || !strings.Contains(err.Error(), "already exists") {
		return err
	}
	if _, hasView, lookErr := w.foundView(ctx); lookErr != nil || hasView {
		return lookErr
	}
	return sdk.Configuration(errors.Join(errors.New("a table has its name"), err), "set views_schema to a schema of its own")
}

// foundView reports whether the schema of the views and the view exist. It refuses a view
// over another external schema, such as that of another project: grants would open it.
func (w *warehouse) foundView(ctx context.Context) (hasSchema, hasView bool, err error) {
	rows, err := w.run(ctx, lookUpView,
		types.SqlParameter{Name: aws.String("view"), Value: aws.String(resolvedName)},
		types.SqlParameter{Name: aws.String("schema"), Value: aws.String(w.config.viewsSchema())})
	if err != nil || len(rows) == 0 {
		return false, false, err
	}
	if len(rows[0]) != 3 {
		return false, false, sdk.Permanent(fmt.Errorf("the query for the view returns rows of %d columns", len(rows[0])))
	}
	_, hasView = rows[0][1].(*types.FieldMemberStringValue)
	// A user may be kept from seeing the text.
	if text, ok := rows[0][2].(*types.FieldMemberStringValue); ok && hasView && !w.config.reads(text.Value) {
		return true, true, sdk.Configuration(fmt.Errorf("it exists and does not read the external schema %s", w.config.ExternalSchema),
			"set views_schema to a schema of its own, or drop the view in Redshift")
	}
	return true, hasView, nil
}

// reads reports whether the text of a view names the table of events in the external
// schema, in quotes or without; an empty text tells nothing.
func (c config) reads(text string) bool {
	names := strings.FieldsFunc(strings.ToLower(strings.ReplaceAll(text, `"`, "")), func(r rune) bool {
		return r != '.' && r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	table := c.ExternalSchema + "." + tables[sdk.Events]
	return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool {
		// The name of the database may come first, and that of a column last.
		return strings.Contains("."+name+".", "."+table+".")
	})
}

// resolved is the name of the view in statements.
func (c config) resolved() string {
	return identifier(c.viewsSchema()) + "." + identifier(resolvedName)
}

// createResolved is the statement that creates the view. Without schema binding the
// view may read external tables, and its tables may be dropped or missing.
func (c config) createResolved() string {
	var of strings.Builder
	for _, column := range columns.Of(sdk.Events) {
		of.WriteString("e." + identifier(column.Name) + ", ")
	}
	table := func(stream sdk.Stream) string { return identifier(c.ExternalSchema) + "." + identifier(tables[stream]) }
	return "CREATE VIEW " + c.resolved() + " AS\n" +
		"SELECT " + of.String() + "e." + identifier(partitionKey) + ", COALESCE(m.resolved_distinct_id, e.distinct_id) AS resolved_distinct_id\n" +
		"FROM " + table(sdk.Events) + " e LEFT JOIN " + table(sdk.Identity) + " m ON m.distinct_id = e.distinct_id\n" +
		"WITH NO SCHEMA BINDING"
}
