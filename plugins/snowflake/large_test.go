package snowflake

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

// A run of 400 days whose rows are in 1,200 files is one transaction with two COPY
// statements, since one may name 1,000 files. No reader sees the rows of the first alone,
// and nothing stays of it when the second fails.
func TestManyDaysAndFilesAreOneTransaction(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	var dates []string
	for day := range 400 {
		dates = append(dates, time.Date(2025, 1, 1+day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))
	}
	c, run := events("one", dates...), testRun(sdk.Events, 1, 1)
	d := openAt(t, config, func(d *destination) { d.partSize = 1 }) // each batch has a file
	receipt, err := export(t.Context(), d, run, c)
	if err != nil {
		t.Fatal(err)
	}
	w.Fail(standin.SnowflakePoint{Statement: "^COPY INTO", Nth: 2}, 603, "XX000", "SQL execution internal error")
	if err := d.Commit(t.Context(), run, receipt); protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("commit: %v", err)
	}
	w.expect(t, config, sdk.Events, nil)

	before, _ := w.Statements()
	hold := w.Hold(standin.SnowflakePoint{Statement: "^COPY INTO", Nth: 2})
	ended := make(chan error, 1)
	go func() { ended <- d.Commit(t.Context(), run, receipt) }()
	hold.Reached()
	w.expect(t, config, sdk.Events, nil)
	hold.Release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.expect(t, config, sdk.Events, c.want())
	after, _ := w.Statements()
	w.oneSession(t, after[len(before):])
	var shape []string
	files := 0
	for _, s := range after[len(before):] {
		switch word, _, _ := strings.Cut(s.Text, " "); word {
		case "BEGIN", "COMMIT", "ROLLBACK":
			shape = append(shape, word)
		case "COPY":
			shape = append(shape, word)
			files += strings.Count(s.Text, ".json.gz'")
		}
	}
	if got := strings.Join(shape, " "); got != "BEGIN COPY COPY COMMIT" || files != 1200 {
		t.Errorf("the transaction is %s, with %d files", got, files)
	}
	if left := w.staged(t, config); len(left) > 0 {
		t.Errorf("the stage holds %d files", len(left))
	}
}
