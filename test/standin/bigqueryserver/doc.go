// Command bigquery-standin plays BigQuery on a loopback address, for tests. Package
// server documents what it knows.
package main
