// Package localfs is the destination that writes to a directory: Mixpanel's
// bucket layout on a disk.
//
// A file appears under its name whole, after it was synced, or not at all;
// so does every change of the manifest, which is made under a lock. It makes
// files with mode 0600 and directories with mode 0700, and leaves the mode of
// what exists alone. docs/destinations/localfs.md is its guide.
package localfs
