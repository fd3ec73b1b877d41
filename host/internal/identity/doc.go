// Package identity folds identity links, in the order in which they were
// sealed, into mappings: which id stands for which.
//
// It knows no destination and writes no catalog: Generation makes the next
// generation of a project's mappings, which is there for others once the caller
// has named it in the catalog.
//
// The fold is serial, because whether a link holds depends on all links before
// it. Its state lies in an Index, a key-value store on disk. The index is a cache:
// it follows from the journal alone, knows up to where it is folded, and is
// rebuilt if it is missing, damaged, of other rules, or of another journal.
//
// Promises:
//
//   - mappings have one hop, no id that stands for itself, and each id once;
//   - the same links leave the same bytes of a generation, for any division into
//     folds and any crashes between them;
//   - a link that is refused changes nothing but the counts and the list of
//     failures, which follow from the links alone, too;
//   - memory is bounded by Options, not by the number of links or ids. The list
//     of failures is bounded; their counts are not.
package identity
