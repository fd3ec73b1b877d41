package schema

// readNames are the names of properties that an event's row or a caller of Property may
// need: those of known, and the ids of identity management.
var readNames = map[string]bool{
	"token": true, "$import": true, "$mp_api_endpoint": true, "$mp_api_timestamp_ms": true, "$mp_event_size": true, "mp_processing_time_ms": true,
	"ip": true, "time": true, "distinct_id": true, "$insert_id": true, "$device_id": true, "$user_id": true, "$identified_id": true, "$ignore": true,
	"$city": true, "$region": true, "mp_country_code": true,
	"$anon_id": true, "$anon_distinct_id": true, "alias": true, "$distinct_ids": true,
}

// predict scans the record at from if it is an event of the usual form, as a predictor does,
// and returns its end. It returns false for any other record, with the scanner as it was.
//
// Of properties the predictor keeps the members that readNames has, and those whose values may
// be cut or refused. Of the event
//
//	{"event":"View","properties":{"token":"t","$os":"iOS","time":1780000000,"tags":["a"],"page":"/"}}
//
// these are token, time and tags. All others are copied to the row with the text around them.
func (c *Collector) predict(from int) (end int, ok bool) {
	s, p := &c.scanner, &c.predictor
	c.sparse = false
	if !p.begin() {
		return from, false
	}
	end, ok = p.eventAt(s, from)
	if c.sparse = p.end(s, ok); c.sparse {
		c.members, c.lastEnd = len(p.marks), s.properties.to-1
	}
	return end, c.sparse
}

// before returns how many members of properties begin before a place. The first ones, as many
// as some, are known to.
func (c *Collector) before(place, some int) int {
	for int(c.predictor.marks[some].At) < place {
		some++
	}
	return some
}

// scanAll scans a record again whose members were not all kept.
func (c *Collector) scanAll() {
	s := &c.scanner
	s.reset(s.data)
	s.value(c.sentAt.from)
	s.body, c.sparse = c.sentAt, false
}
