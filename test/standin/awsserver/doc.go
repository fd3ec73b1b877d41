// Package awsserver plays three services of AWS in tests, at the wire: STS
// (AssumeRole), Glue's catalog of databases, tables and partitions, and the
// Redshift Data API.
//
// The servers are strict: they refuse the requests that the services document as
// refused, with the code and the text of the service. Each refusal has its source
// in a table of the package's tests, which send them with aws-sdk-go-v2. Requests
// of Glue and the Data API must be signed with a session of the STS, for the
// service and region of the server; sessions end.
//
// Glue keeps the catalog in memory, and stores no data. The Data API executes only
// the statements about schemas, views and grants that Penstock sends, and SELECT
// statements with a function of the test; it fails all others.
// A test sets faults through the fields and methods of the servers. Time is a
// function that the test passes.
package awsserver
