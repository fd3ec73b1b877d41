// Command penstock-destination-snowflake is the destination plugin that writes to
// Snowflake. The penstock host starts it; docs/destinations/snowflake.md is its
// guide.
package main
