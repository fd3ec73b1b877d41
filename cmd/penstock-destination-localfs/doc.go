// Command penstock-destination-localfs is the destination plugin that writes
// to a directory. The penstock host starts it; docs/destinations/localfs.md
// is its guide.
package main
