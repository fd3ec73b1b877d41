// Package s3 is the destination that writes to Amazon S3 and to servers that
// speak its protocol, in Mixpanel's bucket layout.
//
// It keeps at most four parts of 5 MiB in memory, for any size of objects and any
// number of projects. The service checks the CRC-32 of every part. Each call is
// retried a few times with back-off and then returns an error with a class; later
// retries are the host's. docs/destinations/s3.md is the guide.
package s3
