package schema

import "time"

// Profiles turns records about profiles into operations. It keeps its memory;
// it is not for concurrent use.
type Profiles struct {
	c   *Collector
	all []Operation
}

// NewProfiles returns a Profiles.
func NewProfiles() *Profiles { return &Profiles{c: NewCollector([32]byte{})} }

// Operations returns the operations that a record asks for, in the order in which
// they apply; now is when it arrived. They are valid until the next call. A record
// that is refused is a *Rejection. It is
//
//	{"$distinct_id":…,"$set":{…},…}          one or more operations, as /engage takes them
//	{"$distinct_id":…,"$properties":{…}}     a profile, as Mixpanel's query gives it
//	{"distinct_id":…,"properties":{…}}       a profile, as it is exported
//
// A profile is an operation $set of all its properties, which leaves $last_seen
// as it is there.
func (p *Profiles) Operations(record []byte, now time.Time) ([]Operation, error) {
	if len(record) > MaxRecord {
		return nil, reject(TooLong, "the record has %d bytes, of %d at most", len(record), MaxRecord)
	}
	p.c.Begin(record, false)
	defer p.c.End()
	switch there := p.c.Next(); {
	case p.c.Err() != nil:
		return nil, p.c.Err()
	case there && p.c.Refused() != nil:
		r := p.c.Refused().Rejection
		return nil, &r
	case !there || p.c.next != len(p.c.body) || p.c.mode == elements:
		return nil, reject(InvalidJSON, "the record is not one JSON object")
	}
	p.all = p.all[:0]
	for _, verb := range verbs {
		if value := p.c.Member(string(verb)); value != nil {
			p.all = append(p.all, Operation{Verb: verb, Value: value})
		}
	}
	if len(p.all) == 0 {
		return p.profile(now)
	}
	return p.operations(now)
}

// Repaired reports whether the operations of the last call differ from their
// record in that U+FFFD replaces escaped surrogates that have no partner.
func (p *Profiles) Repaired() bool { return p.c.Repaired() }

// operations completes the record's operations.
func (p *Profiles) operations(now time.Time) ([]Operation, error) {
	id, at, seen := p.resolveID(), now.UnixMilli(), !True(p.c.Member("$ignore_time"))
	if id == "" {
		return nil, p.noID(p.c.Member("$distinct_id"))
	}
	// A time of its own may not lie ahead.
	if own, ok := p.c.Milliseconds(p.c.Member("$time")); ok && own >= 0 && own < at {
		at = own
	}
	for i := range p.all {
		o := &p.all[i]
		o.DistinctID, o.Time, o.LastSeen = id, at, seen
		if o.Verb == Delete {
			o.Value = []byte("null")
		}
		if err := o.Check(); err != nil {
			return nil, err
		}
	}
	return p.all, nil
}

// resolveID returns the id of the profile that a record changes, derived as a
// collector derives it; "" if the record has no usable id.
func (p *Profiles) resolveID() string {
	if id := p.c.ID(p.c.Member("$distinct_id")); id != "" {
		return id
	}
	if id := p.c.ID(p.c.Member("$user_id")); id != "" {
		return id
	}
	if id := p.c.ID(p.c.Member("$device_id")); id != "" {
		return "$device:" + id
	}
	return ""
}

// profile is the operation that sets a profile's properties.
func (p *Profiles) profile(now time.Time) ([]Operation, error) {
	id, properties := p.c.Member("$distinct_id"), p.c.Member("$properties")
	if properties == nil {
		id, properties = p.c.Member("distinct_id"), p.c.Member("properties")
	}
	if properties == nil {
		return nil, reject(UnknownOperation, "the record is neither a profile, with $properties, nor an operation on one, such as $set")
	}
	o := Operation{DistinctID: p.c.ID(id), Verb: Set, Time: now.UnixMilli(), Value: properties}
	if o.DistinctID == "" {
		return nil, p.noID(id)
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	p.all = append(p.all, o)
	return p.all, nil
}

// noID returns the rejection of a record without a usable id: the same ids are
// refused in every shape of record.
func (p *Profiles) noID(sent []byte) error {
	if id := p.c.Text(sent); id != "" {
		return reject(InvalidDistinctID, "distinct_id must not be %.40q: clients send it by mistake, and it would make one profile of many", id)
	}
	return reject(NoProfileID, "the record has no distinct_id, or an empty one")
}
