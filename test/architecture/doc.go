// Package architecture holds the import table of docs/architecture.md: which
// package may know which. It has tests only.
package architecture
