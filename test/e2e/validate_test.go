package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Mistakes that plugins find are printed together with those of the host.
func TestPluginsMistakesComeWithTheHosts(t *testing.T) {
	s := newSiteWith(t, `
destination "localfs" "out" {
  path   = "./out"
  prefix = "a//b"
}
destination "s3" "lake" {
  bucket        = "acme"
  region        = "us-west-2"
  access_key_id = "AKIAEXAMPLE"
}
destination "localfs" "unused" {
  path   = "./unused"
  prefix = "../c"
}
`, "localfs.out")
	s.Append("penstock.hcl", s.pipeline("to_lake", "s3.lake"))
	both := []string{"penstock.hcl:18:12", "Prefix cannot name a directory", "secret_access_key", "../c"}
	r := s.Penstock(nil, "validate")
	s.Says(r, 2, both...)
	if strings.Count(r.Err, "Prefix cannot name a directory") != 2 {
		t.Errorf("a mistake is said more than once:\n%s", r.Err)
	}
	s.Says(s.Penstock(nil, "run", "--once"), 2, "Prefix cannot name a directory", "secret_access_key")

	s.Append("penstock.hcl", strings.Replace(s.pipeline("third", "localfs.unused"), "events\"", "evnts\"", 1))
	for _, args := range [][]string{{"validate"}, {"run", "--once"}} {
		s.Says(s.Penstock(nil, args...), 2, append(both, `"evnts"`)...)
	}
	s.Says(s.Penstock(nil, "validate", "--offline"), 2, `"evnts"`)

	// Nor does it keep the plugins silent that no project could be read.
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "2195193", `"many"`, 1))
	s.Says(s.Penstock(nil, "validate"), 2, append(both, `id is "many"`)...)
}

func TestValidateRefusesOnePlaceByTwoWays(t *testing.T) {
	s := newSiteWith(t, `
destination "localfs" "out" {
  path = "./out"
}
destination "localfs" "same" {
  path = "./events/../out/."
}
`, "localfs.out")
	s.Append("penstock.hcl", s.pipeline("again", "localfs.same"))
	s.Says(s.Penstock(nil, "validate"), 2, "Pipelines overlap", "localfs.out", "localfs.same", "/out/")
	s.Says(s.Penstock(nil, "run", "--once"), 2, "Target belongs to another pipeline", "Pipelines again and events_out have the target file://", "and later in common")
	// Two that adopt each other would both export what comes from then on.
	s.Write("penstock.hcl", strings.ReplaceAll(s.Read("penstock.hcl"), "stream ", "adopt       = true\n  stream "))
	s.Says(s.Penstock(nil, "run", "--once"), 2, "Target cannot be adopted", "again", "events_out", "it is configured, too")
}

// A destination's record of a place names one pipeline, whatever its dates are. A second one
// is refused before a host runs, and with adopt in both they write there side by side.
func TestOtherDatesAtOnePlaceAreRefusedUnlessBothAdopt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	split := base.Format("2006-01-02")
	first := strings.Replace(s.Read("penstock.hcl"), "from_date", "to_date     = \""+base.AddDate(0, 0, -1).Format("2006-01-02")+"\"\n  from_date", 1)
	second := fmt.Sprintf("pipeline \"later\" {\n  project     = \"shop\"\n  stream      = \"events\"\n  destination = \"localfs.out\"\n  from_date   = %q\n}\n", split)
	s.Write("penstock.hcl", first+second)
	s.Says(s.Penstock(nil, "validate"), 2, "Pipelines share a place", "events_out", "later", "/out/2195193/mp_master_event/", "adopt = true in both")
	s.Says(s.Penstock(nil, "run", "--once"), 2, "Target belongs to another pipeline", "events_out", "adopt = true")

	s.Write("penstock.hcl", first)
	s.events("a.ndjson", -1, 2, 10)
	s.Once()
	s.Write("penstock.hcl", first+second)
	s.Says(s.Penstock(nil, "validate"), 2, "Pipelines share a place")
	s.Write("penstock.hcl", strings.ReplaceAll(first+second, "stream ", "adopt       = true\n  stream "))
	s.Says(s.Penstock(nil, "validate"), 0, "valid")
	s.Once()
	s.events("b.ndjson", -1, 2, 30)
	s.Once()
	if rows := s.Rows("out"); len(rows) != 30 {
		t.Errorf("%d rows", len(rows))
	}
	s.Says(s.Penstock(nil, "pipelines", "verify", "later"), 0)
	s.Says(s.Penstock(nil, "pipelines", "verify", "events_out"), 0)
}

// A directory within another pipeline's is read with it: the refusal names both
// pipelines, both places and the dates.
func TestValidateRefusesAPlaceWithinAnother(t *testing.T) {
	s := newSiteWith(t, `
destination "localfs" "out" {
  path = "./out"
}
destination "localfs" "inner" {
  path   = "./out"
  prefix = "2195193/mp_master_event/inner"
}
`, "localfs.out")
	until := base.AddDate(0, 0, -28).Format("2006-01-02")
	s.Append("penstock.hcl", strings.Replace(s.pipeline("inner", "localfs.inner"), "from_date", "to_date = \""+until+"\"\n  from_date", 1))
	dates := base.AddDate(0, 0, -30).Format("2006-01-02") + " to " + until
	places := []string{"events_out", "inner", "/out/2195193/mp_master_event/", "/inner/2195193/mp_master_event/", "the dates " + dates + " in common"}
	s.Says(s.Penstock(nil, "validate"), 2, append(places, "Pipelines overlap")...)
	s.Says(s.Penstock(nil, "run", "--once"), 2, append(places, "Target belongs to another pipeline")...)
}

func TestAnUnknownDestinationTypeNamesThoseThereAre(t *testing.T) {
	s := newSiteWith(t, `
destination "localfss" "out" {
  path = "./out"
}
`, "localfss.out")
	s.Says(s.Penstock(nil, "validate"), 2, `"localfs", "ndjson", "picky", "s3" and "snowflake"`, `Did you mean "localfs"?`)
}

// A change of an attribute that is fixed at registration is reported at that
// attribute.
func TestAChangedPipelineIsAMistakeInTheConfiguration(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Once()
	text := s.Read("penstock.hcl")
	day := base.AddDate(0, 0, -30).Format("2006-01-02")
	s.Write("penstock.hcl", strings.Replace(text, day, base.AddDate(0, 0, -20).Format("2006-01-02"), 1))
	for _, args := range [][]string{{"validate"}, {"run", "--once"}} {
		s.Says(s.Penstock(nil, args...), 2, "penstock.hcl:24:17", "Fixed since", "from_date = "+day)
	}
	s.Says(s.Penstock(nil, "plan"), 2, "events_out (", "penstock.hcl:24): from_date changes from "+day, "which is refused", "give the pipeline another name")
	s.Says(s.Penstock(nil, "validate", "--offline"), 0, "not checked: whether projects and pipelines are as they were registered")
	s.Says(s.Penstock(nil, "status"), 0)

	s.Write("penstock.hcl", strings.Replace(text, `pipeline "events_out"`, `pipeline "renamed"`, 1))
	s.Says(s.Penstock(nil, "plan"), 0, "events_out: it is not in the configuration", "penstock pipelines forget events_out")
	s.Says(s.Penstock(nil, "validate"), 2, "Target belongs to another pipeline", "Pipelines renamed and events_out have the target file://", "adopt = true")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "from_date", "adopt = true\n  from_date", 1))
	s.Says(s.Penstock(nil, "validate"), 0, "valid")
}

// A pipeline gets another name and other dates: nothing is exported twice, and nothing
// is left out.
func TestARenamedPipelineGoesOnWhereTheFormerStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `pipeline "events_out" {`, "pipeline \"renamed\" {\n  adopt = true", 1))
	s.file("b.ndjson", 100, 5)
	s.Once()
	s.delivered("after the adoption", slices.Concat(numbers(0, 5), numbers(100, 5))...)
	open := s.Read("penstock.hcl")
	before := base.AddDate(0, 0, -1).Format("2006-01-02")
	s.Write("penstock.hcl", strings.Replace(open, "adopt = true", "adopt = true\n  to_date = \""+before+"\"", 1))
	s.Says(s.Penstock(nil, "plan"), 0, "to_date changes from none to "+before, "later dates are not exported any more")
	s.file("c.ndjson", 200, 5)
	s.Once()
	s.delivered("with an earlier to_date", slices.Concat(numbers(0, 5), numbers(100, 5))...)
	s.Write("penstock.hcl", open)
	s.file("d.ndjson", 300, 5)
	s.Once()
	s.delivered("without a to_date", slices.Concat(numbers(0, 5), numbers(100, 5), numbers(200, 5), numbers(300, 5))...)
}

// A changed project is a mistake in the configuration for every command.
func TestAChangedProjectIsAMistakeInTheConfiguration(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Once()
	text := s.Read("penstock.hcl")
	for change, want := range map[[2]string][]string{
		{"2195193", "2195194"}:                                 {"Id of the project was changed", "id = 2195193"},
		{"2195193", "2195193\n  timezone = \"Europe/Berlin\""}: {"Time zone of the project was changed", `timezone = "UTC"`},
	} {
		s.Write("penstock.hcl", strings.Replace(text, change[0], change[1], 1))
		for _, args := range [][]string{{"validate"}, {"run", "--once"}, {"status"}, {"plan"}} {
			s.Says(s.Penstock(nil, args...), 2, append(want, "penstock.hcl:")...)
		}
	}
}

// A pipeline from the earliest date keeps the date of its registration.
func TestTheEarliestDateIsFixedAtRegistration(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	day := base.AddDate(0, 0, -30).Format("2006-01-02")
	text := strings.Replace(s.Read("penstock.hcl"), `"`+day+`"`, `"earliest"`, 1)
	s.Write("penstock.hcl", text)
	s.Once()
	// from_date is now longer ago than max_backfill allows.
	s.Write("penstock.hcl", strings.Replace(text, "host {", "host {\n  max_backfill = \"1d\"", 1))
	s.Says(s.Penstock(nil, "validate"), 0, "valid")
	s.Once()
}
