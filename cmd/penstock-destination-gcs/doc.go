// Command penstock-destination-gcs is the destination plugin that writes to
// Google Cloud Storage. The penstock host starts it; docs/destinations/gcs.md
// is its guide.
package main
