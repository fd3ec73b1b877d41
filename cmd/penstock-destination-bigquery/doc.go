// Command penstock-destination-bigquery is the destination plugin that writes to
// Google BigQuery. The penstock host starts it; docs/destinations/bigquery.md is
// its guide.
package main
