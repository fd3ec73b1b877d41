// Package gcs is the destination that writes to Google Cloud Storage, in
// Mixpanel's bucket layout. Package gcsbucket carries it out.
package gcs
