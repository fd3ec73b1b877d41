package pipeline

import (
	"slices"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

func TestTargetsMeet(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"s3://lake/a/", "s3://lake/a/", true},
		{"s3://lake/a/", "s3://lake/a/b/", true},
		{"s3://lake/", "s3://lake/a/7/mp_master_event/", true},
		{"s3://lake/a/", "s3://lake/ab/", false},
		{"s3://lake/a/", "s3://lake/b/", false},
		{"s3://lake/a", "s3://lake/a/b/", false}, // the first is not a directory
		{"bigquery://p/d/events", "bigquery://p/d/events", true},
		{"bigquery://p/d/events", "bigquery://p/d/events_2", false},
	} {
		a, b := Target{1, batch.Events, tt.a}, Target{2, batch.Events, tt.b}
		if a.Meets(b) != tt.want || b.Meets(a) != tt.want {
			t.Errorf("%s and %s meet: %t and %t, want %t", tt.a, tt.b, a.Meets(b), b.Meets(a), tt.want)
		}
		if tt.a != tt.b && slices.Contains(Directories(tt.b), tt.a) != tt.want {
			t.Errorf("%s is one of the directories of %s: %t", tt.a, tt.b, !tt.want)
		}
		b.Stream = batch.People
		if a.Meets(b) {
			t.Errorf("%s and %s meet, of two streams", tt.a, tt.b)
		}
	}
}

func TestDaysInCommon(t *testing.T) {
	day := func(s string) journal.Day {
		d, err := journal.ParseDay(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	march := Days{day("2026-03-01"), day("2026-03-31")}
	for _, tt := range []struct {
		other Days
		want  string // "": none
	}{
		{Days{day("2026-01-01"), day("2026-02-28")}, ""},
		{Days{day("2026-01-01"), day("2026-03-01")}, "2026-03-01"},
		{Days{day("2026-03-10"), day("2026-03-11")}, "2026-03-10 to 2026-03-11"},
		{Days{day("2026-03-20"), Forever}, "2026-03-20 to 2026-03-31"},
		{Days{day("2026-04-01"), Forever}, ""},
	} {
		common, ok := march.Common(tt.other)
		if ok != (tt.want != "") || ok && common.String() != tt.want {
			t.Errorf("%s and %s: %s, %t, want %q", march, tt.other, common, ok, tt.want)
		}
	}
	if s := (Days{march.From, Forever}).String(); s != "2026-03-01 and later" {
		t.Errorf("without an end: %q", s)
	}
}
