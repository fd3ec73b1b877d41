// Package rowmark says where the members of a row lie. The parser of a row knows, and a
// compressor that is told need not look for them again.
//
//	{"device_id":"d","event_name":"View","properties":{"time":1793232000,"$os":"iOS"},…
//	 ^                ^                                ^                 ^
//	 a mark each: where the name begins, how long the text before the value is, and a
//	 number that equal texts share
//
// It knows neither JSON nor compression. Marks are hints: a reader must be right,
// if slower, with any marks and without.
package rowmark
