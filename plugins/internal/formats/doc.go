// Package formats holds the values of the attribute "format" that the object
// stores share: their names, their descriptions, the lake.Format of each, and what
// the name of an object tells of its format. It encodes no rows itself.
package formats
