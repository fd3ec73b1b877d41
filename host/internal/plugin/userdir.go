package plugin

import (
	"os"
	"path/filepath"
)

// UserCacheDir returns the directory of the descriptions of plugins. They are kept by
// checksum, so that it serves every plugin directory of this user.
func UserCacheDir() string {
	if base, err := os.UserCacheDir(); err == nil {
		return filepath.Join(base, "penstock", "plugins")
	}
	return ""
}

// LookupUser returns the user of a name; nil for "", which stands for the host's own.
func LookupUser(name string) (*User, error) {
	if name == "" {
		return nil, nil
	}
	return FindUser(name)
}
