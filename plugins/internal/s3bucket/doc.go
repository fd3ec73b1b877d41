// Package s3bucket is a bucket at Amazon S3, or at a server that speaks its
// protocol, as a lake.Store, with the destination "s3" over it. Other destinations
// whose files lie in a bucket use its configuration, credentials and store.
//
// It keeps at most four parts of 5 MiB in memory, for any size of objects and any
// number of projects. The service checks the CRC-32 of every part. Each call is
// retried a few times with back-off and then returns an error with a class; later
// retries are the host's. docs/destinations/s3.md is the guide.
package s3bucket
