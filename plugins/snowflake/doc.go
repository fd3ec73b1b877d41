// Package snowflake is the destination that writes to Snowflake, in Mixpanel's
// tables and views.
//
// Rows are spooled to gzip files of about 128 MiB and uploaded to a stage, in a
// directory of the attempt: by PUT to an internal stage, or with AWS credentials to the
// bucket of an external one. One transaction in one session copies the files
// into the table and then updates the target's ledger on condition of run and fence;
// Status and Open read the ledger. People and identity are copied into a temporary
// table, and replace the set's table by INSERT OVERWRITE in the same transaction as
// the ledger. Views are created once and never replaced, so that their grants stay.
//
// The disk holds at most two spooled files of an attempt and the driver's encrypted
// copy of one; memory does not grow with the size of an export. Logins of a user
// follow one another, and credentials that were refused are not tried again for a
// while, since the service locks users. Statements are retried by the driver with the
// same request id; a session that is lost is replaced, and its transaction repeated
// from the beginning.
//
// docs/destinations/snowflake.md is its guide.
package snowflake
