package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"

	"modernc.org/sqlite"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// work counts the statements that connections carry out, and the rows that they return.
type work struct{ statements, rows int }

// counting is a connector whose connections count their work.
type counting struct {
	driver.Connector
	work *work
}

func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return countingConn{opened.(sqliteConn), c.work}, nil
}

type countingConn struct {
	sqliteConn
	work *work
}

func (c countingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return countingStatement{s.(prepared), c.work}, nil
}

type countingStatement struct {
	prepared
	work *work
}

func (s countingStatement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.work.statements++
	return s.prepared.ExecContext(ctx, args)
}

func (s countingStatement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.work.statements++
	r, err := s.prepared.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	return countingRows{r, s.work}, nil
}

type countingRows struct {
	driver.Rows
	work *work
}

func (r countingRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == nil {
		r.work.rows++
	}
	return err
}

// Pipelines follow one another at a place, each with dates of its own. The work of
// registering one, or of finding it registered, does not grow with their number.
func TestTheWorkOfAdoptingDoesNotGrow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "catalog.db")
	first, err := Open(t.Context(), path, "first")
	if err == nil {
		err = first.RegisterProject(t.Context(), project, "shop", "UTC")
	}
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var done work
	open := func(extra string) *sql.DB {
		inner, err := sqlite.NewConnector(dsn(path, extra))
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector{counting{inner, &done}, pauseBusy})
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	c := &Catalog{write: open("_txlock=immediate"), read: open("_pragma=query_only(1)"), path: path}
	register := func(n int) (spent work) {
		t.Helper()
		def := pipeline.Definition{
			Name: fmt.Sprintf("p%04d", n), ProjectID: project, Stream: batch.Events, Destination: "s3.lake", Adopt: true,
			From: journal.Day(1000 + 2*n), To: journal.Day(1001 + 2*n),
		}
		done = work{}
		if claims, err := c.Claims(t.Context(), def, lake("s3://lake/")); err != nil || len(claims) > 0 {
			t.Fatal(claims, err)
		}
		if err := c.TargetsTaken(t.Context(), def, lake("s3://lake/")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RegisterPipeline(t.Context(), def, lake("s3://lake/"), registeredAt); err != nil {
			t.Fatal(err)
		}
		return done
	}
	const pipelines = 300
	var fresh, again [pipelines]work
	for n := range pipelines {
		fresh[n] = register(n)
	}
	for n := range pipelines {
		again[n] = register(n)
	}
	if fresh[3].statements == 0 || fresh[3].rows == 0 {
		t.Fatal("no work is counted")
	}
	if fresh[pipelines-1] != fresh[3] {
		t.Errorf("registering pipeline %d takes %+v, and number 3 took %+v", pipelines-1, fresh[pipelines-1], fresh[3])
	}
	if again[pipelines-1] != again[3] {
		t.Errorf("finding pipeline %d takes %+v, and number 3 took %+v", pipelines-1, again[pipelines-1], again[3])
	}
	// Dates of another one are found among all of them.
	taken, err := c.Claims(t.Context(), pipeline.Definition{
		Name: "late", ProjectID: project, Stream: batch.Events, From: 1000 + 2*200, To: 1003 + 2*200,
	}, lake("s3://lake/deeper/"))
	if want := []Claim{{"p0200", "s3://lake/"}, {"p0201", "s3://lake/"}}; err != nil || fmt.Sprint(taken) != fmt.Sprint(want) {
		t.Errorf("claims %v, want %v; %v", taken, want, err)
	}
}
