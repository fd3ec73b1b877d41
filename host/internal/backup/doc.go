// Package backup writes a data directory into one file while its host works, and
// restores it into an empty directory.
//
// A backup is a tar archive:
//
//	backup.json    format, version of the host, schema of the catalog; see Header
//	blobs/…        segments, commit records, keys and generations that the catalog names
//	quarantine/…   refused records
//	collector/…    write-ahead logs of collectors
//	catalog.db     one state of the catalog, which all other files belong to
//	checksum       SHA-256 of the names, sizes and bytes of all entries before it
//
// Promises:
//
//   - a file that has its final name is whole and durable; a backup that failed or was
//     killed has another name, or none, and is refused by Restore;
//   - everything that the catalog of a backup names is in the backup, and each record
//     that a collector had acknowledged when the backup began is in its journal or in
//     its write-ahead log;
//   - Restore writes into empty directories only, and no host opens a directory in which
//     a restore did not end;
//   - memory holds the names of the files, never their bytes.
//
// It decides nothing about destinations: a restored catalog may be older than they are,
// which package runner finds when it opens them.
package backup
