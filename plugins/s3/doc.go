// Package s3 is the destination that writes to Amazon S3 and to servers that
// speak its protocol, in Mixpanel's bucket layout.
//
// It holds at most a fixed number of parts of 5 MiB in memory, whatever the
// size of what it writes and however many projects it serves; every part's
// CRC-32 is checked by the service. Each call retries a few times with
// back-off and then returns an error of a class; to go on after longer is the
// host's part. docs/destinations/s3.md is its guide.
package s3
