// Package bigquery is the destination that writes to Google BigQuery, in
// Mixpanel's tables.
//
// Events are loaded into a staging table per run and fence, and moved to
// mp_master_event by one script in one transaction, whose first statement updates
// the target's ledger: that update conflicts with other attempts, and Status and Open
// read the ledger. People and identity are loaded into a table of their own,
// to which a view is then switched on condition of its version; the view's labels
// hold run and fence.
//
// Its memory does not grow with the size of an export: parts are collected in a
// fixed number of blocks, and larger ones are uploaded while they arrive. Each
// request is retried a few times, each job by a new id, and each has a deadline;
// then the error has a class, and retrying for longer is the host's part.
//
// Parts are uploaded through the REST API itself: cloud.google.com/go/bigquery, which
// does everything else, sizes the memory of uploads itself and does not tell a load
// that has begun from one that was refused.
//
// docs/destinations/bigquery.md is its guide.
package bigquery
