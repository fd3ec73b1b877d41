//go:build !crashpoints

package crashpoint

// Here marks a place.
func Here(string) {}
