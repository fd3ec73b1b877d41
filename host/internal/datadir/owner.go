package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
)

// NewOwner returns a name for this process in leases and announcements.
func NewOwner() string {
	name, err := os.Hostname()
	if err != nil {
		name = "host"
	}
	var b [4]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), hex.EncodeToString(b[:]))
}
