// Command penstock-destination-s3 is the destination plugin that writes
// to Amazon S3 and what speaks its protocol. The penstock host starts it; docs/destinations/s3.md
// is its guide.
package main
