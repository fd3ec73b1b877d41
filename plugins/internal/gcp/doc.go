// Package gcp gets credentials for Google's services: of a key file, of the
// machine (application default credentials), or of a service account that either
// may act as. Destinations at Google use it.
//
// It has the attributes of a destination block that select an account, finds
// credentials, tells why they were refused, reads the answers of services out of
// errors, and keeps the ids of uploads out of errors. It has the names and checksums of
// Cloud Storage, which more than one destination writes to. It calls no service, and
// retries nothing; its transport bounds connecting and waiting for an answer.
package gcp
