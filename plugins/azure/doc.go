// Package azure is the destination that writes to Azure Blob Storage, in Mixpanel's
// bucket layout. docs/destinations/azure.md is its guide.
//
// Its memory does not grow with the size of an export or the number of CPUs:
// objects are collected in a fixed number of shared buffers. An object that fits in
// one buffer is one Put Blob; a larger one is sent in blocks while the next block
// is filled. The service compares the CRC-64 of every block and blob with the bytes
// that it received. Each call retries transient errors a few times with back-off,
// ends within a deadline, and then returns an error of a class; retrying for longer
// is the host's part.
//
// Uncommitted blocks belong to the blob's name and not to an upload. Block ids hold
// the attempt and the block's number, so that two attempts never mix; package lake
// describes the rest. The texts of errors hold no URL, which could hold a SAS.
package azure
