// Package objectstore has the object stores that end-to-end tests export to: how
// each is started, the destination block that names it, and its objects as the
// vendor's own client reads them.
//
// A Store is a line in the table of All; the tests do the same with each.
package objectstore
