// Package parquet writes rows as Apache Parquet files, and reads them back.
//
// Strings are BYTE_ARRAY with the annotation UTF8, properties among them; time is
// INT64. All columns are optional. Pages are compressed with Zstandard; row groups
// hold about 64 MiB of rows, so that a writer keeps at most one of them, compressed,
// in memory. The same rows in the same batches make the same bytes.
//
// Format is the lake.Format of such files. The package knows no store and no
// catalog; the columns are those of package columns.
package parquet
