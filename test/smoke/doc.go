// Command smoke runs the comparison of an export against a real account, or against
// any server that the vendor's variables name:
//
//	smoke s3|gcs|azure|bigquery|snowflake|redshift
//
// It first prints the objects or the dataset that it creates and their cost, and asks
// unless YES is 1. It removes them, also after a failure or an interrupt. Exit status:
// 0 the comparison found no difference, 1 it failed, 2 credentials or agreement are
// missing.
package main
