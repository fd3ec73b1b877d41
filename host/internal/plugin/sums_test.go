package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The checksum of a binary is remembered as long as the file is the same, and no
// longer: not for another content of the same size and time of modification.
func TestChecksumsAreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), Prefix+"x")
	known := &sums{}
	at := time.Now().Add(-time.Hour)
	write := func(content string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o700), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() (string, bool) {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		was := known.get(path, f) != ""
		b, err := openBinary(path, known)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return b.SHA256, was
	}
	write("one")
	first, _ := sum()
	if _, was := sum(); was {
		t.Error("a file that has just changed is remembered")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	is, ok := identify(f)
	if !ok {
		t.Skip("SKIPPED: checksums are not remembered on this system")
	}
	known.put(path, first, is, time.Now().Add(settled)) // as if it was read later
	if again, was := sum(); again != first || !was {
		t.Errorf("a file that stays as it is: %s, remembered %v", again, was)
	}
	write("two") // of the same size, inode and time of modification
	if other, was := sum(); other == first || was {
		t.Errorf("another content has the checksum %s, remembered %v", other, was)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write("one") // in another inode, perhaps of the same number
	if again, was := sum(); again != first || was {
		t.Errorf("another file: %s, remembered %v", again, was)
	}
}
