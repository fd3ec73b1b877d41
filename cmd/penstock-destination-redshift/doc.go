// Command penstock-destination-redshift is the destination plugin that writes
// files to S3 for Redshift Spectrum and Athena, with tables in Glue. The penstock
// host starts it; docs/destinations/redshift.md is its guide.
package main
