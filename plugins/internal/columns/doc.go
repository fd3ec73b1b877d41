// Package columns splits rendered rows into the columns of their stream, for
// destinations whose files hold columns or strings instead of nested objects.
//
// The column "properties" is a string: the text of the JSON object, byte for byte.
// The other strings are unescaped; "time" is an integer. A Decoder reads batches,
// fits rows to the longest string that the destination can hold, and passes each
// row on; AppendLine renders a row again.
//
// The host guarantees the form of rows (their columns and the order of these), so
// a row is not parsed as JSON: only its ends are. A row in another form is an
// error and never a wrong value.
//
// The package knows no file format and no service.
package columns
