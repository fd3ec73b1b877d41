// Package gcsserver is a strict Cloud Storage in memory, for tests of rules
// that fake-gcs-server does not keep: preconditions on generation and
// metageneration in every call that takes them, compose as one step, checksums
// of resumable uploads, key names, retention policies, and bearer tokens.
//
// It speaks the part of the JSON API that the official Go client sends for
// objects: insert (multipart and resumable), get, media, list, patch, delete,
// compose, and the bucket's metadata. It refuses everything else with
// 501, so that a test cannot pass by accident. Statuses, reasons and messages
// are those of the service's documentation
// (https://cloud.google.com/storage/docs/json_api/v1/status-codes and
// /request-preconditions).
package gcsserver
