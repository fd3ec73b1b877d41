// Package collector is the HTTP handler that Mixpanel's clients send to: for
// /track, /import, /engage and /groups, as unmodified clients call them.
//
// It turns bodies into rows and answers; it knows neither listeners nor
// journals. Rows go to a Log, and an answer that says that they were taken is
// sent when the log has them. Records that are refused while their client is
// not told which go to Rejects.
//
// Promises:
//
//   - records that were answered with success are in the log: rows of one request
//     and project together, in the order in which they were sent;
//   - insert ids are made and distinct ids derived before a row is logged, so
//     that a log that is read again has the same ids;
//   - memory is bounded by Options.InFlight and the largest request, however much
//     clients send and however slowly: limits count decompressed bytes;
//   - addresses of clients are never stored; tokens, secrets and addresses are
//     never logged.
package collector
