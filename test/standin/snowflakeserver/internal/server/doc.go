// Package server plays Snowflake as its Go driver meets it: logins, sessions, statements
// and their results over HTTP, internal stages on a storage server that speaks S3's
// protocol, and external ones on this and on servers of Google's and Azure's protocols.
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
// The names below are of repositories and files:
//
//	000625 (57014) a table that is locked           tekumara/notes, on Snowflake's SQL; there the
//	                                                statement ends since 50 others wait: that the end of
//	                                                LOCK_TIMEOUT has the same number is likely
//	001420 (22023) an invalid property              snowflakedb/terraform-provider-snowflake, tests of
//	                                                policies; that a parameter of ALTER SESSION has the
//	                                                same number is not known
//	091016 (22000) COPY of a file that is missing   tekumara/fakesnow, tests; the text is in
//	                                                user-guide/data-load-snowpipe-ts
//
// No published answer was found for a deadlock, 001013 (more than 1,000 files), 090213 and
// 090244 (transactions), a STORAGE_ALLOWED_LOCATIONS that is not the provider's, a bucket of
// Google's or Azure's that does not exist, nor for how long a session may see the state
// before a commit, and which scheme LIST writes for a stage at s3gov:// or s3china://. The
// plugin depends on the numbers of 000625 and 091016: both make a run be tried again.
//
// Statements of a session run one after another. A statement reads the state that was
// committed when it began, and the changes of its own transaction (READ COMMITTED). UPDATE, DELETE,
// MERGE, TRUNCATE and INSERT OVERWRITE lock their table until the transaction ends.
//
// Objects and accounts live in memory, rows in an in-memory DuckDB, as long as the
// process. Paths below /_standin/ change how the server behaves; see admin.go.
package server
