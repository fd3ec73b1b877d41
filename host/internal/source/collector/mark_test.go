package collector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
)

// markedLog keeps the texts that the marks of each row stand before.
type markedLog struct {
	book
	t     *testing.T
	texts []string
}

func (l *markedLog) Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error {
	for _, r := range parts[0].Rows {
		text := ""
		for ; len(marks) > 0 && int(marks[0].At) < r.Offset+r.Length; marks = marks[1:] {
			if int(marks[0].At) < r.Offset {
				l.t.Errorf("a mark at %d, before the row at %d", marks[0].At, r.Offset)
			}
			text += string(data[marks[0].At : marks[0].At+int32(marks[0].Text)])
		}
		l.texts = append(l.texts, text)
	}
	return l.book.Append(ctx, parts, data, marks)
}

// The log learns where members of rows of events begin, and of links it does not. Rows of which
// there are more marks than the request has memory for have one each.
func TestRowsAreMarked(t *testing.T) {
	l := &markedLog{t: t}
	o := options(&l.book)
	o.Log = l
	c := newCollector(t, o)
	events := func(list ...string) string { return "[" + strings.Join(list, ",") + "]" }
	for _, test := range []struct {
		body string
		want []string // in the marks of each row
	}{
		{events(ev(`,"page":"/a"`), ev(`,"page":"/b"`)), []string{`"page":`, `"page":`}},
		{events(ev(`,"$device_id":"d","$user_id":"u"`), ev(`,"page":"/b"`)), []string{`"$device_id":"$user_id":`, `"page":`, ""}},
		{events(ev(members(2)), ev(members(200))), []string{`"0":"1":`, ""}},
	} {
		l.texts = nil
		says(t, send(c, post("/track", asJSON, test.body)), http.StatusOK, "1")
		if len(l.texts) != len(test.want) {
			t.Fatalf("%d rows of %s", len(l.texts), test.body)
		}
		for i, want := range test.want {
			if got := l.texts[i]; !strings.Contains(got, want) || (got == "") != (want == "") {
				t.Errorf("row %d of %s is marked before\n%s\nwant %q", i, test.body, got, want)
			}
		}
		if used := c.budget.usedNow(); used != 0 {
			t.Errorf("%d bytes are not given back", used)
		}
	}
}

// A request whose body has not arrived has no memory for marks, and that of very many is not
// kept.
func TestMemoryOfMarks(t *testing.T) {
	o := options(&book{})
	o.MaxBody = 8 << 20
	c := newCollector(t, o)
	for _, events := range []int{1, MaxRecords} {
		body := "[" + strings.TrimSuffix(strings.Repeat(ev(members(200))+",", events), ",") + "]"
		says(t, send(c, post("/track", asJSON, body)), http.StatusOK, "1")
		q := c.begin(t.Context(), nil, post("/track", asJSON, "["), track)
		if n := cap(q.marks); n > 0 {
			t.Errorf("after %d events a request begins with memory for %d marks", events, n)
		}
		q.end()
		for kept := c.marks.Get(); kept != nil; kept = c.marks.Get() {
			if n := cap(*kept.(*[]rowmark.Mark)); n == 0 || n > mostKeptMarks {
				t.Errorf("after %d events memory for %d marks is kept", events, n)
			}
		}
	}
}

// members returns the text of properties that have fewer bytes than marks have memory for.
func members(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`,"%d":1`, i)
	}
	return text
}
