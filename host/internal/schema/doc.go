// Package schema is the JSON schema of the export: it turns a raw record into
// a canonical row, or returns the reason why it cannot.
//
// It does no I/O, keeps no rows and filters nothing: every valid record becomes
// a row, whatever its name or properties. A Parser validates strictly (RFC 8259,
// UTF-8) in one pass and renders the row in a second look at the few places
// that the pass has noted; it allocates nothing for a record. A predictor goes
// through records whose names come in the order of the records before in less
// time; whatever is unusual, and each refusal, is the scanner's to judge.
//
// The row of an event has these keys, in this order, on one line:
//
//	{"device_id":…,"distinct_id":…,"event_name":…,"insert_id":…,"properties":{…},"time":…,"user_id":…}
//
// properties is the property object as it came, byte for byte, its own time
// and ids included, less the member token at its top level; white space that
// would break the line becomes a space. Ids are strings or null.
//
// An escaped surrogate without its partner, which clients leave where they cut
// a string, is replaced by the escape of U+FFFD before anything else is made of
// the record: jq, ClickHouse and BigQuery refuse a line that has one. Event,
// Collector and Profiles report whether it happened. The flag
// batch.LoneSurrogate is therefore only found on rows that earlier versions
// rendered.
package schema
