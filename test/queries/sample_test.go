//go:build cgo

package queries

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	projectID = "2195193"
	days      = 9
)

// first is the first day of the events.
var first = time.Now().UTC().AddDate(0, 0, -20).Truncate(24 * time.Hour)

// event is an event that was sent. blank is set when it was sent with an empty
// id; without it an event that has neither device nor user has no id at all.
type event struct {
	name, device, user, insert string
	blank                      bool
	at                         time.Time
}

// profile is a profile that was sent, under an id as events have it.
type profile struct {
	id, email string
	seen      time.Time
}

// sample is the events and profiles that were sent, in order.
type sample struct {
	events   []event
	profiles []profile
}

// newSample is a shop: people come as devices, most log in some days later,
// some of them on several devices, and one device is shared.
func newSample() *sample {
	const devices, users = 60, 25
	r := rand.New(rand.NewPCG(7, 7))
	s := &sample{}
	names := []string{"Page View", "Search", "Größe gewählt", "Order Completed"}
	add := func(day int, device, user string) {
		s.events = append(s.events, event{
			name: names[r.IntN(len(names))], device: device, user: user, insert: fmt.Sprintf("id-%05d", len(s.events)),
			at: first.AddDate(0, 0, day).Add(time.Duration(r.IntN(86400)) * time.Second),
		})
	}
	for day := range days {
		for d := range devices {
			device, user := fmt.Sprintf("d-%02d", d), ""
			// One of six never logs in, the others do on different days.
			if d%6 != 5 && day >= d%5+1 {
				user = fmt.Sprintf("user-%02d", d*7%users)
			}
			if d == 0 && day >= 6 {
				user = "user-visitor" // on the device of somebody else
			}
			for range r.IntN(4) {
				add(day, device, user)
			}
			if user != "" && r.IntN(3) == 0 {
				add(day, "", user) // on a server, which knows no device
			}
		}
		add(day, "", "")
		add(day, "", "")
		s.events[len(s.events)-1].blank = true
	}
	return s.withProfiles(users)
}

// withProfiles adds profiles: of most users, of devices, two of which may belong
// to a user without a profile, and of a user without events.
func (s *sample) withProfiles(users int) *sample {
	add := func(id string) {
		s.profiles = append(s.profiles, profile{id, strings.Trim(id, "$") + "@example.com", first.Add(time.Duration(len(s.profiles)) * time.Hour)})
	}
	for d := range 40 {
		add(fmt.Sprintf("$device:d-%02d", d))
	}
	for u := range users {
		if u%3 != 0 {
			add(fmt.Sprintf("user-%02d", u))
		}
	}
	add("user-never-seen")
	return s
}

// owners are the users whom devices belong to: the first that was seen there.
func (s *sample) owners() map[string]string {
	owners := map[string]string{}
	for _, e := range s.events {
		if e.device != "" && e.user != "" && owners["$device:"+e.device] == "" {
			owners["$device:"+e.device] = e.user
		}
	}
	return owners
}

// id is the event's distinct_id; empty when it has none.
func (e event) id() string {
	switch {
	case e.user != "":
		return e.user
	case e.device != "":
		return "$device:" + e.device
	}
	return ""
}

// person is the user that an id stands for: its owner, or the id itself.
func person(owners map[string]string, id string) string { return cmp.Or(owners[id], id) }

func (s *sample) uniqueUsers() []string {
	owners, seen := s.owners(), make([]map[string]bool, days)
	for _, e := range s.events {
		day := int(e.at.Sub(first) / (24 * time.Hour))
		if seen[day] == nil {
			seen[day] = map[string]bool{}
		}
		if id := e.id(); id != "" {
			seen[day][person(owners, id)] = true
		}
	}
	var lines []string
	for day, people := range seen {
		lines = append(lines, line(first.AddDate(0, 0, day), len(people)))
	}
	return lines
}

func (s *sample) eventsPerUser() []string {
	owners := s.owners()
	of := map[string][]time.Time{}
	for _, e := range s.events {
		if id := e.id(); id != "" {
			of[person(owners, id)] = append(of[person(owners, id)], e.at)
		}
	}
	people := make([]string, 0, len(of))
	for p := range of {
		slices.SortFunc(of[p], time.Time.Compare)
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(of[b]), len(of[a])), cmp.Compare(a, b))
	})
	var lines []string
	for _, p := range people {
		lines = append(lines, line(p, len(of[p]), of[p][0], of[p][len(of[p])-1]))
	}
	return lines
}

func (s *sample) eventsWithProfile() []string {
	owners := s.owners()
	// The latest of a person's, unless there is one under the person's own id.
	emails := map[string]string{}
	for _, p := range s.profiles {
		emails[person(owners, p.id)] = p.email
	}
	for _, p := range s.profiles {
		if owners[p.id] == "" {
			emails[p.id] = p.email
		}
	}
	sorted := slices.SortedFunc(slices.Values(s.events), func(a, b event) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.insert, b.insert))
	})
	var lines []string
	for _, e := range sorted {
		var who, email any
		if id := e.id(); id != "" || e.blank {
			who = person(owners, id)
			if found := emails[person(owners, id)]; found != "" {
				email = found
			}
		}
		lines = append(lines, line(e.name, e.at, who, email))
	}
	return lines
}

// perDevice are the events by the device that they were sent with.
func (s *sample) perDevice() []string {
	of := map[string]int{}
	for _, e := range s.events {
		of[e.device]++
	}
	var lines []string
	for _, device := range slices.Sorted(maps.Keys(of)) {
		lines = append(lines, line(device, of[device]))
	}
	return lines
}

// perPerson are the events of people by the id that stands for them.
func (s *sample) perPerson() []string {
	owners, of := s.owners(), map[string]int{}
	for _, e := range s.events {
		if id := e.id(); id != "" {
			of[person(owners, id)]++
		}
	}
	var lines []string
	for _, p := range slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b)) }) {
		lines = append(lines, line(p, of[p]))
	}
	return lines
}

// withOwnProfile are the events with the profile under the id that they came with.
func (s *sample) withOwnProfile() []string {
	emails := map[string]string{}
	for _, p := range s.profiles {
		emails[p.id] = p.email
	}
	sorted := slices.SortedFunc(slices.Values(s.events), func(a, b event) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.insert, b.insert))
	})
	var lines []string
	for _, e := range sorted {
		if email := emails[e.id()]; email != "" {
			lines = append(lines, line(e.name, e.insert, email))
		}
	}
	return lines
}

// each is every event once.
func (s *sample) each() []string {
	var lines []string
	for _, e := range s.events {
		lines = append(lines, line(e.insert))
	}
	return lines
}

// line is a row as text.
func line(values ...any) string {
	parts := make([]string, len(values))
	for i, v := range values {
		if at, ok := v.(time.Time); ok {
			v = at.UTC().Format(time.DateTime)
		}
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, " | ")
}
