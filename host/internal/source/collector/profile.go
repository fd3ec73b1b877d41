package collector

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// verbs are the operations of records of /engage and /groups.
var verbs = [...]schema.Verb{
	schema.Set, schema.SetOnce, schema.Add, schema.Append, schema.Union, schema.Remove, schema.Unset, schema.Delete,
}

// operations takes the record as operations on one profile: one mostly.
func (q *request) operations(p *schema.Collector) {
	project, reason := q.projectOf(tokenOf(p, p.Member("$token")))
	switch {
	case reason == UnknownToken:
		q.refuse(p, nil, refused(UnknownToken, "$token", "no project has this token"))
		q.good++ // whether a token is known is not said
		return
	case reason == NoToken:
		q.refuse(p, nil, refused(NoToken, "$token", "'$token' is invalid: must not be missing"))
		return
	case project.NoProfiles && q.endpoint == engage:
		q.refuse(p, project, refused(ProfilesElsewhere, "", "the project's profiles are read from Mixpanel and are not written here"))
		return
	}
	o := schema.Operation{DistinctID: q.profile(p), Time: q.received.UnixMilli(), LastSeen: !schema.True(p.Member("$ignore_time"))}
	if r := checkProfile(q.endpoint, p, o.DistinctID); r != nil {
		q.refuse(p, project, r)
		return
	}
	// A time of its own may not lie ahead.
	if at, ok := p.Milliseconds(p.Member("$time")); ok && at >= 0 && at < o.Time {
		o.Time = at
	}
	q.operate(p, project, o)
}

// profile is the id of the profile, or group, that a record is about.
func (q *request) profile(p *schema.Collector) string {
	if q.endpoint == groups {
		return p.Text(p.Member("$group_id"))
	}
	if id := p.ID(p.Member("$distinct_id")); id != "" {
		return id
	}
	if id := p.ID(p.Member("$user_id")); id != "" {
		return id
	}
	if id := p.ID(p.Member("$device_id")); id != "" {
		return "$device:" + id
	}
	return ""
}

func checkProfile(endpoint string, p *schema.Collector, id string) *schema.Refused {
	switch {
	case endpoint == groups && p.Text(p.Member("$group_key")) == "":
		return refused(NoGroup, "$group_key", "'$group_key' is invalid: must not be missing")
	case endpoint == groups && id == "":
		return refused(NoGroup, "$group_id", "'$group_id' is invalid: must not be missing")
	case id == "" && len(p.Member("$distinct_id")) > 0:
		return refused(schema.InvalidDistinctID, "$distinct_id", "'$distinct_id' is invalid: clients send it by mistake, and it would make one profile of many")
	case id == "":
		return refused(schema.NoDistinctID, "$distinct_id", "'$distinct_id' is invalid: must not be missing")
	}
	return nil
}

// operate takes all operations of the record, or none.
func (q *request) operate(p *schema.Collector, project *Project, o schema.Operation) {
	var all [len(verbs) + 1]schema.Operation
	n := 0
	for _, verb := range verbs {
		value := p.Member(string(verb))
		if value == nil {
			continue
		}
		o.Verb, o.Value = verb, value
		if verb == schema.Delete {
			o.Value = []byte("null")
		}
		if err := o.Check(); err != nil {
			r := &schema.Refused{Field: string(verb)}
			if rejection, ok := err.(*schema.Rejection); ok {
				r.Rejection = *rejection
			}
			q.refuse(p, project, r)
			return
		}
		all[n] = o
		n++
	}
	if n == 0 {
		q.refuse(p, project, refused(NoOperation, "", "the record has no operation, such as $set"))
		return
	}
	q.good++
	if q.endpoint == groups {
		q.count(project, Grouped)
		return
	}
	if place := q.place(p); place != nil && all[0].Verb != schema.Delete && all[0].Verb != schema.Unset {
		o.Verb, o.Value = schema.Set, place
		q.operation(project, o)
	}
	for _, o := range all[:n] {
		q.operation(project, o)
	}
	q.accept(p, project)
}

// operation renders an operation. Its day is that of its arrival, so that a
// day's operations lie in the order in which they came.
func (q *request) operation(project *Project, o schema.Operation) {
	start := len(q.rendered)
	q.rendered = schema.AppendOperation(q.rendered, o)
	row := q.rendered[start:]
	// It is JSON: its parts were checked.
	flags, _ := schema.RowFlags(row)
	q.append(project, journal.KindProfiles, start, journal.Row{
		Time: q.received.Unix(), Key: schema.OperationKey(q.collector.serial.id(), row), Flags: flags,
	})
}

// place are the properties of where a record comes from, or nil.
func (q *request) place(p *schema.Collector) []byte {
	a := &q.arrival
	if a.Geo == nil {
		return nil
	}
	place := a.Place
	if value := p.Member("$ip"); len(value) > 0 {
		place = schema.Place{}
		if address, err := netip.ParseAddr(p.Text(value)); err == nil {
			place, _ = a.Geo.Locate(address.Unmap())
		}
	}
	if place == (schema.Place{}) {
		return nil
	}
	// Strings alone: there is nothing that fails.
	encoded, _ := json.Marshal(struct {
		City    string `json:"$city,omitempty"`
		Region  string `json:"$region,omitempty"`
		Country string `json:"$country_code,omitempty"`
	}{place.City, place.Region, place.Country})
	return encoded
}

// id is unlike any other.
func (s *serial) id() []byte {
	return binary.LittleEndian.AppendUint64(s.prefix[:], s.next.Add(1))
}
