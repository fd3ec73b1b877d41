package diagnostic

import "io"

// Found are the mistakes and warnings of a configuration.
type Found struct {
	List    Diagnostics
	Sources Sources
}

// Entries returns the diagnostics as they are written in JSON: each with its
// severity, summary, detail and place.
func (d Found) Entries() []Entry { return Entries(d.List) }

// WriteText renders diagnostics for people.
func (d Found) WriteText(w io.Writer, colour bool) {
	WriteText(w, d.List, d.Sources, colour)
}

// WriteJSON renders diagnostics for machines, one JSON object a line.
func (d Found) WriteJSON(w io.Writer) error { return WriteJSON(w, d.List) }

// ConfigurationError says that a configuration cannot be used.
type ConfigurationError struct{ Diagnostics Found }

func (e *ConfigurationError) Error() string { return "the configuration is wrong" }
