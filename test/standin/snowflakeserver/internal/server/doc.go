// Package server plays Snowflake as its Go driver meets it: logins, sessions, statements
// and their results over HTTP, and stages on a storage server that speaks S3's protocol.
// SQL is read by package snowsql and run on DuckDB.
//
// It refuses each statement and login that Snowflake's documentation says to be refused,
// with its codes and texts. It answers no statement by a guess: one that it does not
// know is an error. refusals_test.go lists the refusals with their sources.
//
// Pages of the documentation say which statements are refused, and seldom with which code
// and text. These were compared with answers of the service that others have published
// (the numbers are of issues):
//
//	000606 (57P03) no active warehouse              dbt-snowflake 300, pdo_snowflake 179
//	000630 (57014) statement or warehouse timeout   estuary/flow 238
//	002003 (42S02) a table; (02000) other objects   vdesabou/kafka-docker-playground 7348
//	002043 (02000) operation cannot be performed    dbt-core 621
//	100069 (22P02) error parsing JSON               pipelinewise-target-snowflake 298
//	the place of a row that COPY refuses            databend 18835
//	resource monitor has exceeded its quota         appsmith 39303 (the text, not 090073)
//	a warehouse that is suspended                   sfguide-getting-started-from-zero-to-snowflake 3 (the text, not 090232)
//
// No published answer was found for 000625 (lock, deadlock), 001420 (parameters),
// 001013 (more than 1,000 files), 091016 (a file that is missing), 090213 and 090244
// (transactions), nor for how long a session may see the state before a commit. The
// plugin depends on the numbers of 000625 and 091016: both make a run be tried again.
//
// Statements of a session run one after another. A statement reads the state that was
// committed when it began, and the changes of its own transaction (READ COMMITTED). UPDATE, DELETE,
// MERGE, TRUNCATE and INSERT OVERWRITE lock their table until the transaction ends.
//
// Objects and accounts live in memory, rows in an in-memory DuckDB, as long as the
// process. Paths below /_standin/ change how the server behaves; see admin.go.
package server
