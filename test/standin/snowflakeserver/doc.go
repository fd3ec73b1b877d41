// Command snowflake-standin plays Snowflake on a loopback address, for tests. Package
// server lists the requests and statements that it knows.
package main
