// Package formats holds the values of the attribute "format" that the object
// stores share: their names, their descriptions, and the lake.Format of each. It
// encodes nothing itself.
package formats
