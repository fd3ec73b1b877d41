// Package redshift is the destination for Redshift Spectrum, and for Athena: files
// in S3, tables in Glue's catalog, and an external schema in Redshift.
//
// Files lie in the layout of the object stores, and package lake carries out runs:
// the manifest says what is committed. A day's partition is registered in Glue
// after the day's files, and before the manifest. A replaced set is one object at a
// location of its own, and the commit switches its table to that location under the
// table's version, with run and fence in the table's parameters: see sets. Rows are re-rendered with
// properties as a string, since a SerDe cannot hand an object to a string column;
// strings that a varchar(65535) cannot hold are treated by the attribute oversize.
//
// The external schema is looked up, and created when it is missing, once in the life
// of the process. docs/destinations/redshift.md is the guide.
package redshift
