// Package gcsbucket is a bucket at Google Cloud Storage as a lake.Store, with the
// destination "gcs" over it. Other destinations whose files lie in a bucket use its
// configuration, credentials and store.
//
// Its memory does not grow with the size of an export: objects are collected in a
// fixed number of shared buffers of 8 MiB. One that fits in a buffer is sent in one
// request; a larger one is a resumable upload, whose chunks are sent in order. The
// service's CRC-32C of every object is compared with that of the bytes sent. Each
// call retries transient errors a few times with back-off, ends within a deadline,
// and then returns an error of a class; retrying for longer is the host's part.
// docs/destinations/gcs.md is its guide.
//
// A replaced set is written aside and composed over its fixed name on
// condition of generation and metageneration; package lake describes why.
package gcsbucket
