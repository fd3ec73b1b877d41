// Package verify compares the four sides of a pipeline: the rows in the journal,
// the receipts in the catalog, the destination's own record, and the objects that
// its service really has. It names each difference with its object, and plans the
// repair of those that can be repaired.
//
// It is a pure function over lists: it reads no journal, asks no destination and
// repairs nothing. The host fills the lists, and package export carries a plan
// out.
//
// An object is judged by the destination's record, the record by the catalog, and
// the catalog by the journal. A part that the journal no longer holds is never
// planned to be sent; the difference says so.
package verify
