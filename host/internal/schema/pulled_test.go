package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func pulled(identity Identity) *Pulled {
	return NewPulled(func() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }, Times{}, identity, 1)
}

func exported(members string) string {
	return `{"event":"Signup","properties":{"time":1780000000123,"$insert_id":"i1",` + members + `}}`
}

// An event that is exported again after its ids were merged is the row that was
// exported before, with the same key.
func TestAPulledEventKeepsTheIDThatWasIngested(t *testing.T) {
	t.Parallel()
	p := pulled(Simplified)
	want, before, err := p.AppendEvent(nil, []byte(exported(`"distinct_id":"$device:D1","$device_id":"D1","plan":"pro"`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{
		exported(`"distinct_id":"U1","$device_id":"D1","plan":"pro","$distinct_id_before_identity":"$device:D1"`),
		exported(`"$distinct_id_before_identity":"$device:D1","distinct_id":"U1","$device_id":"D1","plan":"pro"`),
		exported(`"distinct_id":"U1","$is_reshuffled":true,"$preshuffle_distinct_id":"$device:D1","$device_id":"D1","plan":"pro"`),
		exported(`"distinct_id":"U1","$device_id":"D1","plan":"pro","\u0024distinct_id_before_identity":"$device:D1"`),
		exported(`"distinct_id":"U2","$preshuffle_distinct_id":"U1","$device_id":"D1","plan":"pro","$distinct_id_before_identity":"$device:D1"`),
	} {
		got, e, err := p.AppendEvent(nil, []byte(again))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) || e.Key != before.Key {
			t.Errorf("%s\n is %s\nwant %s", again, got, want)
		}
	}
}

// Properties that only look like those that Mixpanel adds stay.
func TestAPulledEventKeepsItsOtherProperties(t *testing.T) {
	t.Parallel()
	plain := NewParser(func() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) })
	p := pulled(Simplified)
	for _, members := range []string{
		`"distinct_id":"U1","note":"$distinct_id_before_identity"`,
		`"distinct_id":"U1","my_shuffle":1,"in":{"$distinct_id_before_identity":"x"}`,
		`"distinct_id":"U1","$failure_reason":"errSameIDs"`,
	} {
		record := []byte(exported(members))
		want, _, err := plain.AppendEvent(nil, record)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := p.AppendEvent(nil, record)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s\n is %s (%v)\nwant %s", members, got, err, want)
		}
	}
	for _, broken := range []string{`{"event":"x","properties":{"$distinct_id_before_identity":`, `"$distinct_id_before_identity"`, `{"properties":{"$is_reshuffled":true}}`} {
		if _, _, err := p.AppendEvent(nil, []byte(broken)); err == nil {
			t.Errorf("%s was accepted", broken)
		}
	}
}

func TestPulledEventsAskForLinks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		identity      Identity
		name, members string
		want          string
	}{
		{Simplified, "any", `"distinct_id":"U1","$device_id":"D1","$user_id":"U1"`, "link $device:D1 U1"},
		{Simplified, "any", `"distinct_id":"U1","$device_id":"$device:D1","$user_id":"U1"`, "link $device:D1 U1"},
		{Simplified, "any", `"distinct_id":"U1","$user_id":"U1"`, ""},
		{Simplified, "any", `"distinct_id":"U2","$device_id":"D1","$user_id":"U2","$identity_failure_reason":"errAnonDistinctIdAssignedAlready"`, ""},
		{Simplified, "any", `"distinct_id":"U2","$device_id":"D1","$user_id":"null"`, ""},
		{Simplified, "$identify", `"distinct_id":"U1","$device_id":"D1","$user_id":"U1"`, ""},
		{Original, "any", `"distinct_id":"U1","$device_id":"D1","$user_id":"U1"`, ""},
		{Original, "$identify", `"$identified_id":"U1","$anon_id":"A1"`, "identify A1 U1"},
		{Original, "$identify", `"distinct_id":"U1","$anon_distinct_id":"A1"`, "identify A1 U1"},
		{Original, "$identify", `"distinct_id":"U1","$anon_distinct_id":"A1","$failure_reason":"errManyIDs"`, ""},
		{Original, "$create_alias", `"distinct_id":"U1","alias":1129999`, "alias 1129999 U1"},
		{Original, "$merge", `"$distinct_ids":["A1", "A2"]`, "merge A2 A1"},
		{Original, "$merge", `"$distinct_ids":["A1"]`, ""},
	}
	for _, tt := range tests {
		p := pulled(tt.identity)
		record := strings.Replace(exported(tt.members), "Signup", tt.name, 1)
		if _, _, err := p.AppendEvent(nil, []byte(record)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if l, ok := p.Link(); ok {
			got = fmt.Sprintf("%s %s %s", l.Verb, l.AnonymousID, l.IdentifiedID)
		}
		if got != tt.want {
			t.Errorf("%s %s asks for %q, want %q", tt.name, tt.members, got, tt.want)
		}
	}
}

func TestAPulledLinkIsReturnedOnceADay(t *testing.T) {
	t.Parallel()
	p := pulled(Simplified)
	links := 0
	for n := range 100 {
		record := strings.Replace(exported(`"distinct_id":"U1","$device_id":"D1","$user_id":"U1"`), "1780000000", fmt.Sprint(1780000000+n*3600), 1)
		if _, _, err := p.AppendEvent(nil, []byte(record)); err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Link(); ok {
			links++
		}
	}
	if links != 5 { // 100 hours touch five days
		t.Errorf("%d links", links)
	}
}

// Of some more persons than are remembered, in any order, most links are still known.
func TestKnownLinksForgetTheOldest(t *testing.T) {
	t.Parallel()
	k := newKnownLinks(4)
	room := 8 * len(k)
	sum := func(n int) uint64 { return uint64(n+1) * 0x9e3779b97f4a7c15 }
	for n := range room / 2 {
		if k.add(sum(n)) {
			t.Fatalf("link %d is known before it was added", n)
		}
	}
	unknown := 0
	for range 4 {
		for n := range room / 2 {
			if !k.add(sum(n)) {
				unknown++
			}
		}
	}
	if unknown > room/100 {
		t.Errorf("%d of %d links were forgotten, with room for twice as many", unknown, room/2)
	}
	// In one set: the one that was used longest ago goes.
	k = newKnownLinks(4)
	in := func(n int) uint64 { return 5 + uint64(n*len(k)) }
	for n := range 8 {
		k.add(in(n))
	}
	k.add(in(0))
	k.add(in(8)) // for 1
	for n, want := range []bool{2: true, 3: true, 0: true, 8: true} {
		if want && !k.add(in(n)) {
			t.Errorf("link %d of a set of eight is forgotten", n)
		}
	}
	if k.add(in(1)) {
		t.Error("the link that was used longest ago is not forgotten")
	}
}
