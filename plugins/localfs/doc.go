// Package localfs is the destination that writes Mixpanel's bucket layout to a
// directory.
//
// A file appears under its name only after it was synced as a whole. Manifests
// and replaced sets change under a lock of their directory. New files have mode
// 0600 and new directories mode 0700; the modes of existing files and
// directories are not changed. docs/destinations/localfs.md is the guide.
package localfs
