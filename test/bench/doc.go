// Command bench measures Penstock as whole processes, host and plugins together,
// and prints ratios to a yardstick that is measured in the same run.
//
// The yardstick is the limit: the same input read and gzipped at the same level
// with the same library on all processors. It runs before and after everything
// else that is measured, and each sample is divided by the mean of its two
// neighbours, so that a slow machine, or a slow moment, changes no ratio. With
// the build tag duckdb, DuckDB's COPY does the work of the product too; gzip, pigz and
// igzip compress the same file, where they are installed.
//
// With -base the binaries of another commit are measured in turns with those of
// this one, and the quotients of the same rounds are printed.
//
// Collecting over HTTP is measured with two more yardsticks: the disk, which
// appends and syncs the same batches, and a bare server that reads the same
// bodies. The sender is this program; it renders all requests before it measures
// anything. The bench then looks for every acknowledged event in the rows that
// the host exports.
//
// The inputs are generated from a seed. Every job counts the rows that arrived,
// and a lost or doubled row is an error. Tables are medians in Markdown, as in
// docs/benchmarks.md; bars that are missed are printed as plainly as others.
// Deduplication, folds and planning are Go benchmarks of the product, which the
// bench runs and reads. The bench is a module of its own, so that the product
// does not depend on its libraries.
//
// It is not a test: nothing passes or fails by time.
package main
