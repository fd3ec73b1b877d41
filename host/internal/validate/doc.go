// Package validate reads a configuration and compares it with this machine: with the
// plugins that are installed and their checks of the destination blocks, with the
// data directory, and with the pipelines and projects in its catalog.
//
// It changes nothing: the data directory may be read-only, and a host may be serving
// it. Mistakes are returned all together, each with its place in the files.
package validate
