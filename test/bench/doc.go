// Command bench measures Penstock as whole processes, host and plugins
// together, beside two yardsticks taken in the same run: the limit (the same
// input read and gzipped at the same level with the same library on all
// processors) and DuckDB's COPY of the same work, when built with the tag
// duckdb.
//
// It generates its own seeded input, alternates what it compares, counts the
// rows that really arrived, and prints medians beside the bars they are held
// to, misses as plainly as wins. It is a module of its own, so that nothing it
// needs weighs on the product. What only Go code can reach (dedup, planning)
// are Go benchmarks in the product, which it runs and reads.
//
// It is not a test: nothing passes or fails by time.
package main
