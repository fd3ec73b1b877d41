package identity_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Anonymous ids of tests: UUIDs of version 4.
const (
	a1 = "11111111-1111-4111-8111-111111111111"
	a2 = "22222222-2222-4222-9222-222222222222"
	a3 = "33333333-3333-4333-A333-333333333333"
)

func anonymous(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// cluster are n links that make a cluster of n+1 ids.
func cluster(user string, from, n int) []schema.Link {
	var links []schema.Link
	for i := range n {
		links = append(links, identify(user, anonymous(from+i)))
	}
	return links
}

// rowsOf are the mappings of clusters that cluster makes.
func rowsOf(user string, from, n int, more map[string]string) map[string]string {
	rows := maps.Clone(more)
	if rows == nil {
		rows = map[string]string{}
	}
	for i := range n {
		rows[anonymous(from+i)] = user
	}
	return rows
}

// The vectors of Mixpanel's identity rules, as links in the order in which they
// were accepted.
func TestVectors(t *testing.T) {
	type failures []identity.Reason
	for _, test := range []struct {
		name     string
		rules    schema.Identity
		links    []schema.Link
		mappings map[string]string
		failures failures
	}{
		{name: "S1 new signup", links: []schema.Link{link("D1", "U1")}, mappings: map[string]string{"$device:D1": "U1"}},
		{name: "S2 returning, new device", links: []schema.Link{link("D1", "U1"), link("D2", "U1")},
			mappings: map[string]string{"$device:D1": "U1", "$device:D2": "U1"}},
		{name: "S3 shared device with reset", links: []schema.Link{link("D1", "U1"), link("D2", "U2")},
			mappings: map[string]string{"$device:D1": "U1", "$device:D2": "U2"}},
		{name: "S4 conflict", links: []schema.Link{link("D", "U51"), link("D", "U52")},
			mappings: map[string]string{"$device:D": "U51"}, failures: failures{identity.AlreadyAssigned}},
		{name: "S10 S11 no links"},
		{name: "S14 S18 repeated pair", links: []schema.Link{link("D", "U"), link("D", "U")}, mappings: map[string]string{"$device:D": "U"}},
		{name: "S15 phone number as device", links: []schema.Link{link("+6512345678", "charlie")},
			mappings: map[string]string{"$device:+6512345678": "charlie"}},
		{name: "S17 verbs have no effect", links: []schema.Link{alias("U", "X"), identify("U", a1), merge("U", "V")}},
		{name: "simplified: a user that looks like a device makes no chain",
			links:    []schema.Link{link("A", "$device:B"), link("B", "U"), link("C", "$device:A"), link("E", "$device:E")},
			mappings: map[string]string{"$device:A": "$device:B"},
			failures: failures{identity.AlreadyAssigned, identity.AlreadyAssigned, identity.SameIDs}},
		{name: "ids that JSON escapes", links: []schema.Link{link("a\"\\\u0001", "ü\n\xed\xa0\x80")},
			mappings: map[string]string{"$device:a\"\\\u0001": "ü\n\xed\xa0\x80"}},

		{name: "O1", rules: schema.Original, links: []schema.Link{identify("U", a1)}, mappings: map[string]string{a1: "U"}},
		{name: "O2", rules: schema.Original, links: []schema.Link{alias(a1, a2), alias(a2, a3), identify("U", a1)},
			mappings: map[string]string{a1: "U", a2: "U", a3: "U"}},
		{name: "O3", rules: schema.Original, links: []schema.Link{alias("U", a1), alias("U", a2)}, mappings: map[string]string{a1: "U", a2: "U"}},
		{name: "O4", rules: schema.Original, links: []schema.Link{merge(a1, a2)}, mappings: map[string]string{a2: a1}},
		{name: "O5", rules: schema.Original, links: []schema.Link{merge(a1, a2), merge(a2, a3), identify("U", a1)},
			mappings: map[string]string{a1: "U", a2: "U", a3: "U"}},
		{name: "O6", rules: schema.Original, links: []schema.Link{identify("U1", a1), identify("U2", a2), merge("U1", "U2")},
			mappings: map[string]string{"U2": "U1", a1: "U1", a2: "U1"}},
		{name: "O6, the other way round", rules: schema.Original, links: []schema.Link{identify("U1", a1), identify("U2", a2), merge("U2", "U1")},
			mappings: map[string]string{"U2": "U1", a1: "U1", a2: "U1"}},
		{name: "O7", rules: schema.Original, links: cluster("U", 0, 510),
			mappings: rowsOf("U", 0, 499, nil), failures: slices.Repeat(failures{identity.ManyIDs}, 11)},
		{name: "O8", rules: schema.Original, links: []schema.Link{identify("U", "session_abc123")}, failures: failures{identity.NotAGUID}},
		{name: "O9", rules: schema.Original, links: []schema.Link{identify(a1, a1)}, failures: failures{identity.SameIDs}},
		{name: "O10", rules: schema.Original, links: []schema.Link{identify("U1", a1), identify("U2", a1)},
			mappings: map[string]string{a1: "U1"}, failures: failures{identity.AlreadyAssigned}},
		{name: "O11", rules: schema.Original, links: []schema.Link{alias("U1", "X"), alias("U2", "X")},
			mappings: map[string]string{"X": "U1"}, failures: failures{identity.AliasExists}},
		{name: "O12", rules: schema.Original, links: []schema.Link{link("A", "U")}},
		{name: "O13", rules: schema.Original, links: cluster("U", 0, 5), mappings: rowsOf("U", 0, 5, nil)},
		{name: "O14", rules: schema.Original, links: []schema.Link{alias("U", "1129999")}, mappings: map[string]string{"1129999": "U"}},
		{name: "O15", rules: schema.Original, links: []schema.Link{identify("U", a1)}, mappings: map[string]string{a1: "U"}},
		{name: "O16", rules: schema.Original,
			links:    slices.Concat(cluster("U1", 0, 299), cluster("U2", 1000, 299), []schema.Link{merge("U1", "U2")}),
			mappings: rowsOf("U1", 0, 299, rowsOf("U2", 1000, 299, nil)), failures: failures{identity.ManyIDs}},
		{name: "O17 O2 permuted", rules: schema.Original, links: []schema.Link{alias(a2, a3), identify("U", a1), alias(a1, a2)},
			mappings: map[string]string{a1: "U", a2: "U", a3: "U"}},
		{name: "original: a repeated link does not fail", rules: schema.Original,
			links:    []schema.Link{identify("U", a1), identify("U", a1), alias("U", "X"), alias("U", "X"), merge("U", "X"), merge("V", "V")},
			mappings: map[string]string{a1: "U", "X": "U"}},
		{name: "original: a device's prefix is not part of the UUID", rules: schema.Original, links: []schema.Link{identify("U", "$device:"+a1)},
			mappings: map[string]string{"$device:" + a1: "U"}},
		{name: "original: an id that was an alias becomes the head", rules: schema.Original,
			links: []schema.Link{merge(a1, "U"), identify("U", a2)}, mappings: map[string]string{a1: "U", a2: "U"}},
		{name: "original: identified within its own cluster", rules: schema.Original,
			links: []schema.Link{merge(a1, "U"), identify("U", a1)}, mappings: map[string]string{a1: "U"}},
		{name: "original: the older of two anonymous clusters keeps its head", rules: schema.Original,
			links:    []schema.Link{merge(a1, "x"), merge(a2, "y"), merge("z", "y"), merge("z", "x")},
			mappings: map[string]string{"x": a1, a2: a1, "y": a1, "z": a1}},

		{name: "L2", rules: schema.Legacy, links: []schema.Link{alias("D", "X"), alias("E", "X"), alias("D", "X"), identify("U", a1), link("A", "U")},
			failures: failures{identity.AliasExists}},
		{name: "legacy: no circle", rules: schema.Legacy, links: []schema.Link{alias("D", "X"), alias("X", "Y"), alias("Y", "D"), alias("D", "D")},
			failures: failures{identity.SameIDs, identity.SameIDs}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := &memJournal{}
			j.add(t, "one", 7, 3, test.links...)
			x := open(t, identity.Options{Dir: t.TempDir(), Rules: test.rules, Journal: j, Batch: 10})
			if test.rules == schema.Legacy {
				if err := x.Fold(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			} else {
				m := newMappings(t)
				g, err := x.Generation(t.Context(), m.store, nil, 1)
				if err != nil {
					t.Fatal(err)
				}
				want := test.mappings
				if want == nil {
					want = map[string]string{}
				}
				if diff := cmp.Diff(want, m.of(g)); diff != "" {
					t.Errorf("mappings:\n%s", diff)
				}
			}
			listed, err := x.Failures(0)
			if err != nil {
				t.Fatal(err)
			}
			var got failures
			counts := map[identity.Reason]int64{}
			for _, f := range slices.Backward(listed) {
				got = append(got, f.Reason)
				counts[f.Reason]++
			}
			if diff := cmp.Diff(test.failures, got); diff != "" {
				t.Errorf("failures:\n%s", diff)
			}
			if s := x.Stats(); int64(len(test.mappings)) != s.Mappings || len(counts) > 0 && !maps.Equal(counts, s.Refused) {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

func TestFailuresNameTheLinkAndReason(t *testing.T) {
	j := &memJournal{}
	j.add(t, "one", 10, 10, identify(a1, a1), identify("U", "session"), identify("U", a1), identify("V", a1), alias("U", "X"), alias("V", "X"))
	j.add(t, "two", 100, 100, append(cluster("W", 0, 4), identify("U", strings.Repeat("é", 1000)))...)
	x := open(t, identity.Options{Dir: t.TempDir(), Rules: schema.Original, Journal: j, Limit: 4, Failures: 5})
	if err := x.Fold(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	got, err := x.Failures(0)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("é", 1000)
	want := []string{
		"$anon_distinct_id didn't match expected GUID pattern: " + long,
		"too many distinctIDs mapped together, Cluster size: 5 Max limit: 4",
		"alias already exists with the id",
		"$anon_distinct_id already identified: " + a1,
		"$anon_distinct_id didn't match expected GUID pattern: session",
	}
	for i, f := range got {
		if text, shortened := strings.CutSuffix(f.Description, "…"); !strings.HasPrefix(want[i], text) || !shortened && text != want[i] {
			t.Errorf("%d: %+v", i, f)
		}
		if len(f.AnonymousID) > 520 || f.Time.Unix() != firstDay || f.Number != int64(5-i) {
			t.Errorf("%d: %+v", i, f)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d are kept", len(got))
	}
	if few, err := x.Failures(2); err != nil || !cmp.Equal(few, got[:2]) {
		t.Errorf("%v %v", few, err)
	}
	if n := x.Stats().Refused[identity.NotAGUID]; n != 2 {
		t.Errorf("%d", n)
	}
}

// Links hold in the order in which they were accepted: within a day and a
// block, over blocks that are compressed side by side, over days and segments.
func TestOrderOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(t, dir)
	w := j.writerWith(t, journal.Options{Block: 2 << 10, Workers: 4, Memory: 1 << 20})
	want := map[string]string{}
	const devices, rounds = 50, 40
	seq := int64(0)
	for round := range rounds {
		var links []schema.Link
		for d := range devices {
			l := link(fmt.Sprint("d", d), fmt.Sprintf("u%d-%d", d, round))
			if round%3 == 2 {
				l.IdentifiedID = fmt.Sprintf("u%d-%d", d, round-1) // as the one before
			}
			if l.Time += int64(round) * 7200; d >= round*devices/rounds {
				continue // that one comes later
			}
			if want[l.AnonymousID] == "" {
				want[l.AnonymousID] = l.IdentifiedID
			}
			links = append(links, l)
		}
		if err := w.Append(t.Context(), chunkOf(links)); err != nil {
			t.Fatal(err)
		}
		if round%7 == 6 || round == rounds-1 {
			seq = j.seal(t, w)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m := newMappings(t)
	x := open(t, identity.Options{Dir: filepath.Join(dir, "identity"), Journal: j, Batch: 64})
	g, err := x.Generation(t.Context(), m.store, nil, seq)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m.of(g)); diff != "" {
		t.Error(diff)
	}
}
