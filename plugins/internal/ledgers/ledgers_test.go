package ledgers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

var (
	target = Target{Name: "the table t", Place: "dataset", Ledger: "ledger_t"}
	run    = sdk.Run{ProjectID: 7, Pipeline: "events", PipelineID: "k7", Stream: sdk.Events, Mode: sdk.Append, Number: 2, Fence: 5, Content: "c"}
)

func TestAdmission(t *testing.T) {
	adopt, other, set := run, run, run
	adopt.Adopt, other.ProjectID, set.Mode = true, 8, sdk.Replace
	for _, c := range []struct {
		name    string
		entries []Entry
		run     sdk.Run
		want    protocol.Class // 0: admitted
		hint    string
	}{
		{"first", nil, run, 0, ""},
		{"again", []Entry{{PipelineID: "k7", Fence: 5}}, run, 0, ""},
		{"older fence", []Entry{{PipelineID: "k7", Fence: 6}}, run, protocol.Fenced, ""},
		{"older fence, adopting", []Entry{{PipelineID: "k7", Fence: 6}}, adopt, protocol.Fenced, ""},
		{"another pipeline", []Entry{{PipelineID: "z9"}}, run, protocol.Configuration, "to take it over"},
		{"another pipeline, adopted", []Entry{{PipelineID: "z9"}}, adopt, 0, ""},
		{"an entry with an empty id", []Entry{{}}, run, 0, ""},
		{"former", []Entry{{PipelineID: "k7", Former: true}, {PipelineID: "z9"}}, run, protocol.Configuration, "to let both write"},
		{"former, of a set", []Entry{{PipelineID: "k7", Former: true}, {PipelineID: "z9"}}, set, protocol.Configuration, "to take it back"},
		{"former, adopting", []Entry{{PipelineID: "k7", Former: true}, {PipelineID: "z9"}}, adopt, 0, ""},
		{"another project", nil, other, protocol.Configuration, "a dataset of its own"},
	} {
		entries := make(map[string]Entry)
		for _, e := range c.entries {
			entries[e.PipelineID] = e
		}
		check(t, c.name, target.Admit(7, entries, c.run), c.want, c.hint)
	}
}

func check(t *testing.T, name string, err error, want protocol.Class, hint string) {
	t.Helper()
	if (err == nil) != (want == 0) || err != nil && protocol.ClassOf(err) != want {
		t.Errorf("%s: %v, want class %v", name, err, want)
	}
	if e := new(sdk.Error); errors.As(err, &e) && !strings.Contains(e.Hint, hint) {
		t.Errorf("%s: the hint is %q, want %q", name, e.Hint, hint)
	}
}

func TestSettled(t *testing.T) {
	committed := sdk.LastRun{Number: 2, Content: "c"}
	for _, c := range []struct {
		name  string
		entry Entry
		done  bool
		want  protocol.Class
	}{
		{"committed", Entry{Fence: 5, Holder: "c", Last: committed}, true, 0},
		{"committed by an older attempt", Entry{Fence: 4, Holder: "c", Last: committed}, true, 0},
		{"committed by a newer attempt", Entry{Fence: 6, Holder: "c", Last: committed}, false, protocol.Fenced},
		{"not committed", Entry{Fence: 5, Holder: "c", Last: sdk.LastRun{Number: 1, Content: "b"}}, false, 0},
		{"adopted", Entry{Fence: 5, Holder: "c", Former: true}, false, protocol.Configuration},
		{"the fence of another host", Entry{Fence: 5, Holder: "d"}, false, protocol.Fenced},
		{"an older claim", Entry{Fence: 4, Holder: "d"}, false, 0},
	} {
		done, err := target.Settled(c.entry, run, "c")
		if done != c.done {
			t.Errorf("%s: committed %v", c.name, done)
		}
		check(t, c.name, err, c.want, "")
	}
	if done, err := target.Settled(Entry{Fence: 5, Last: sdk.LastRun{Number: 2, Content: "d"}}, run, "c"); done || err == nil {
		t.Errorf("the number with other rows: %v, %v", done, err)
	}
}

// A receipt is that of the run which the status is of, or none.
func TestStatus(t *testing.T) {
	text, err := EncodeReceipt(2, sdk.Receipt{Partitions: []sdk.PartitionReceipt{{Date: "2026-06-01", Rows: 5}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Fence: 5, Last: sdk.LastRun{Number: 2, Content: "c"}, Receipt: text}
	if s := e.Status(run); s.Last != e.Last || s.Fence != 5 || s.Content != "c" || s.Receipt == nil || s.Receipt.Partitions[0].Rows != 5 {
		t.Errorf("status %+v", s)
	}
	next := run
	next.Number = 3
	if s := e.Status(next); s.Last != e.Last || s.Content != "" || s.Receipt != nil {
		t.Errorf("status of the next run %+v", s)
	}
	for _, text := range []string{"", "{", `{"run":1,"partitions":[]}`} {
		e.Receipt = text
		if s := e.Status(run); s.Receipt != nil {
			t.Errorf("receipt %q is taken for that of run 2", text)
		}
	}
}

// A ledger has the contents of the latest 512 runs before the last one, and of no other.
func TestContentsOfEarlierRuns(t *testing.T) {
	commit := func(e *Entry, number int64) {
		t.Helper()
		text, err := EncodeReceipt(number, sdk.Receipt{}, e.Earlier())
		if err != nil {
			t.Fatal(err)
		}
		e.Last, e.Receipt = sdk.LastRun{Number: number, Content: fmt.Sprint("content ", number)}, text
	}
	check := func(what string, e Entry, number int64, want string) {
		t.Helper()
		asked := run
		asked.Number = number
		if s := e.Status(asked); s.Content != want || s.Last != e.Last {
			t.Errorf("%s: run %d has the content %q, want %q", what, number, s.Content, want)
		}
	}
	var e Entry
	commit(&e, 1)
	check("the first", e, 1, "content 1")
	commit(&e, 2)
	commit(&e, 5) // numbers were left out
	for number, want := range map[int64]string{0: "", 1: "content 1", 2: "content 2", 3: "", 5: "content 5", 6: ""} {
		check("four", e, number, want)
	}
	for number := range int64(keptRuns) {
		commit(&e, 6+number)
	}
	check("many", e, 5+keptRuns, fmt.Sprint("content ", 5+keptRuns))
	check("many", e, 5, "content 5")
	check("many", e, 2, "")
	if n := len(e.Receipt); n > 40<<10 {
		t.Errorf("the receipt has %d bytes", n)
	}

	old := Entry{Last: sdk.LastRun{Number: 7, Content: "content 7"}, Receipt: `{"run":7,"partitions":[]}`}
	check("a receipt of an older version", old, 6, "")
	commit(&old, 8)
	check("after it", old, 7, "content 7")
	for _, text := range []string{"", "{", `{"run":1,"partitions":[],"earlier":[{"run":4,"content":"x"}]}`} {
		e := Entry{Last: sdk.LastRun{Number: 5, Content: "content 5"}, Receipt: text}
		check("a receipt that is not the last run's", e, 4, "")
		commit(&e, 6)
		check("after it", e, 5, "content 5")
	}
}
