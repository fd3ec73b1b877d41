package host

// version is set by the linker.
var version = "dev"

// Version is the host's version, for people.
func Version() string { return version }
