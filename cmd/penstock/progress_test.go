package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host"
)

// Progress is printed from time to time, and always the latest; an activity that
// waits is not printed.
func TestProgressOfASourceThatWaits(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(&out, jsonLines)
	p.now = func() time.Time { return now }
	report := func(seconds int, rows int64) {
		for range seconds * 10 {
			p.Report(host.Report{Stage: "import", Name: "files.in", Rows: rows})
			now = now.Add(100 * time.Millisecond)
		}
	}
	report(5, 10)
	report(30, 20)
	report(30, 25)
	p.Report(host.Report{Stage: "import", Name: "files.in", Rows: 25, Done: true})
	const want = `{"stage":"import","name":"files.in","rows":10,"bytes":0}
{"stage":"import","name":"files.in","rows":20,"bytes":0}
{"stage":"import","name":"files.in","rows":25,"bytes":0}
{"stage":"import","name":"files.in","rows":25,"bytes":0,"done":true}
`
	if out.String() != want {
		t.Errorf("printed:\n%s", out.String())
	}
}
