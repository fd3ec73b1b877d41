// Package s3 is the destination that writes to Amazon S3 and to servers that
// speak its protocol, in Mixpanel's bucket layout. Package s3bucket carries it out.
package s3
