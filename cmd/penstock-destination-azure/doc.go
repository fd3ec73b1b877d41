// Command penstock-destination-azure is the destination plugin that writes to
// Azure Blob Storage. The penstock host starts it; docs/destinations/azure.md is
// its guide.
package main
