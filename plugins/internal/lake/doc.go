// Package lake is what the object stores share: the names of objects, the
// cutting of a run into parts, the manifest, and the replacement of whole
// sets. A destination adds a Store, its attributes and its checks.
//
// It never decodes a row: objects are made of the batches' bytes as they
// came. It knows no service, no file system and no clock.
//
// What it promises, over any Store that keeps its own promises:
//
//   - The objects of a run have the same names and the same bytes however
//     often the run is tried.
//   - The manifest, written with a condition, is the only thing that says
//     committed. It holds the run and the fence, so a writer whose fence is
//     older cannot commit.
//   - After a commit the target holds the run's objects and none left over
//     from its earlier attempts.
//   - A replaced set that is one object changes from old to new in one
//     instant for anyone who lists.
//
// docs/manifest.md describes what a reader sees.
package lake
