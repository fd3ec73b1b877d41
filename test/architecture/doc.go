// Package architecture holds tests over the whole tree: the import table of
// docs/architecture.md, which says which package may know which; the packages
// that may look at a clock; and the word list for comments and messages.
package architecture
