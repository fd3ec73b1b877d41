// Package mixpanelserver plays the two APIs of Mixpanel that a source pulls from:
// the raw event export (GET /api/2.0/export) and the profile query (POST
// /api/query/engage).
//
// It keeps to the published contract: credentials, parameters, limits with their
// answers, line format, gzip, renamed ids, pages and sessions. Tests break single
// answers with Fault: a connection that is reset at any byte, a marker in the
// stream, another status, content type or body, a redirect, a stream that stalls.
//
// It is not an implementation of Mixpanel: of selector expressions it evaluates only
// comparisons of mp_processing_time_ms with numbers, and it has no identity management
// other than Merge.
package mixpanelserver
