// Package azurecontainer is a container at Azure Blob Storage as a lake.Store, with the
// destination "azure" over it. Other destinations whose files lie in a container use its
// configuration, credentials and store. docs/destinations/azure.md is the guide.
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
package azurecontainer
