package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 200 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("%s is given twice", address)
		}
		seen[address] = true
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if port, err := strconv.Atoi(text); err != nil || port < lowest || port >= end() {
			t.Errorf("port %s lies not between %d and %d: %v", text, lowest, end(), err)
		}
	}
}

// The kernel's own choice is never one of these ports.
func TestTheKernelChoosesOthers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if port := l.Addr().(*net.TCPAddr).Port; port < end() {
		t.Errorf("port %d was chosen, below %d", port, end())
	}
}
