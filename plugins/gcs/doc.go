// Package gcs is the destination that writes to Google Cloud Storage, in
// Mixpanel's bucket layout.
//
// Its memory does not grow with the size of an export: objects of up to
// 4 MiB are collected in a fixed number of shared buffers and sent in one
// request; larger ones go through resumable uploads with one chunk in memory
// each. The service's CRC-32C of every object is compared with that of the
// bytes sent. Each call retries transient errors a few times with back-off,
// ends within a deadline, and then returns an error of a class; retrying for
// longer is the host's part. docs/destinations/gcs.md is its guide.
//
// A replaced set is written aside and composed over its fixed name on
// condition of generation and metageneration; package lake describes why.
package gcs
