// Command bench measures Penstock as whole processes, host and plugins
// together, beside two yardsticks taken in the same run: the limit (the same
// input read and gzipped at the same level with the same library on all
// processors) and DuckDB's COPY of the same work, when built with the tag
// duckdb.
//
// What the collector acknowledges over HTTP is measured beside the disk's own
// syncs and a bare server that reads the same bodies; the sender is this
// program, which renders what it sends before anything is measured. Every
// acknowledged event is then looked for in what the host exports.
//
// It generates its own seeded input, alternates what it compares, counts the
// rows that really arrived, and prints medians beside the bars they are held
// to, misses as plainly as wins. It is a module of its own, so that nothing it
// needs weighs on the product. What only Go code can reach (dedup, planning)
// are Go benchmarks in the product, which it runs and reads.
//
// It is not a test: nothing passes or fails by time.
package main
