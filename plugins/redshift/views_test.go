package redshift

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

func withViews(t *testing.T) *services {
	t.Helper()
	s := newServices(t)
	s.config.Views, s.config.GrantUsageTo, s.config.firstPause = []string{"resolved"}, []string{"role analysts", "bi"}, time.Millisecond
	return s
}

// expectView compares the view and its grants.
func (s *services) expectView(t *testing.T, schema string) {
	t.Helper()
	local, _ := s.redshift.Local(schema)
	view := local.Views["mp_master_event_resolved"]
	for _, want := range []string{`FROM "mp_json_export"."mp_master_event" e LEFT JOIN "mp_json_export"."mp_identity_mappings_data" m ON`, `COALESCE(m.resolved_distinct_id, e.distinct_id) AS resolved_distinct_id`} {
		if !strings.Contains(view.Text, want) {
			t.Errorf("%q is not in the view %q", want, view.Text)
		}
	}
	if got := fmt.Sprint(local.Usage, view.Select); got != "[role analysts bi] [role analysts bi]" {
		t.Errorf("granted to %s", got)
	}
}

// The view is created once, in a schema that is created when it is missing, and its use
// is granted. Another process finds it.
func TestTheViewIsCreatedOnce(t *testing.T) {
	for _, schema := range []string{"", "reports"} {
		s := withViews(t)
		s.config.ViewsSchema = schema
		for range 2 {
			if err := s.warehouse(t).ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.expectView(t, s.config.viewsSchema())
		}
		created := 0
		for _, c := range s.redshift.Calls("ExecuteStatement") {
			if strings.Contains(string(c.Body), "CREATE ") {
				created++
			}
		}
		if created != 3 {
			t.Errorf("%d statements create, want one each for the external schema, the schema and the view", created)
		}
	}
	s := withViews(t)
	s.config.Views = nil
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.redshift.Local("mp_json_export_views"); ok {
		t.Error("a schema for views was created without views")
	}
}

// Each statement may fail once; the next attempt completes the view and the grants.
func TestEachStatementOfTheViewMayFail(t *testing.T) {
	for nth := 1; ; nth++ {
		s, n := withViews(t), 0
		s.redshift.Fault(func(operation string, _ []byte) error {
			if operation != "ExecuteStatement" {
				return nil
			}
			if n++; n == nth {
				return &awsserver.Refusal{Code: "ValidationException", Message: "said by the test"}
			}
			return nil
		})
		w := s.warehouse(t)
		err := w.ensure(t.Context())
		if n < nth {
			break
		}
		wantClass(t, err, protocol.Permanent, "said by the test")
		if err := w.ensure(t.Context()); err != nil {
			t.Fatalf("after statement %d: %v", nth, err)
		}
		s.expectView(t, "mp_json_export_views")
	}
}

// Another process may create the view between the look-up and the creation. A table of
// its name is refused.
func TestAViewThatAnotherProcessCreates(t *testing.T) {
	s := withViews(t)
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.warehouse(t).createResolved(t.Context()); err != nil {
		t.Errorf("a view that exists: %v", err)
	}
	s = withViews(t)
	s.redshift.CreateTable("mp_json_export_views", "mp_master_event_resolved")
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, "a table has its name")
}

// A view of another external schema, such as that of another project, is not taken for one's
// own, and gets no grants.
func TestAViewOfAnotherSchemaIsRefused(t *testing.T) {
	s := withViews(t)
	s.config.ViewsSchema = "reports"
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.config.ExternalSchema, s.config.GrantUsageTo = "export", []string{"others"}
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, "view reports.mp_master_event_resolved: it exists and does not read the external schema export")
	wantClass(t, s.warehouse(t).check(t.Context()), protocol.Configuration, "does not read the external schema export")
	s.expectView(t, "reports")
}

func TestTheTextOfAView(t *testing.T) {
	c := config{ExternalSchema: "a_b"}
	for text, want := range map[string]bool{
		"": true,
		`CREATE VIEW v AS SELECT 1 FROM "a_b"."mp_master_event" e WITH NO SCHEMA BINDING`: true,
		"select a_b.mp_master_event.time from A_B.MP_Master_Event":                        true,
		"select 1 from (dev.a_b.mp_master_event) e":                                       true,
		"select 1 from a_b_2.mp_master_event":                                             false,
		"select 1 from z_a_b.mp_master_event":                                             false,
		"select 1 from a_b.mp_master_event_2":                                             false,
		"select 1 from other.mp_master_event where note = 'a_b'":                          false,
	} {
		if c.reads(text) != want {
			t.Errorf("%q is read as one over the external schema: %v", text, !want)
		}
	}
}

func TestMistakesOfViews(t *testing.T) {
	for attribute, change := range map[string]func(*config){
		"views":        func(c *config) { c.Views = []string{"people"} },
		"views_schema": func(c *config) { c.Views, c.ViewsSchema = []string{"resolved"}, c.ExternalSchema },
	} {
		s := newServices(t)
		change(&s.config)
		var found sdk.Diagnostics
		if err := s.config.check(nil); !errors.As(err, &found) || len(found) != 1 || found[0].Attribute != attribute {
			t.Errorf("%s: %v", attribute, err)
		}
	}
}
