// Package ledgers holds the rules of ledgers: a ledger is the table in which a
// destination with transactions records, for one target, which pipelines may write to
// it, which attempt of each may commit, and which run is committed. The package decides
// by the rows of a ledger, and encodes the receipts in them. It reads and writes no
// table: the destination does, in the transaction that makes the rows of a run visible.
package ledgers
