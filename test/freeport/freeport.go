package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	lowest = 10_000
	// ephemeral is Linux's usual lower end of the range from which the kernel chooses.
	ephemeral = 32_768
)

// given are the ports that this process was given.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// Address returns an address of the loopback interface, "127.0.0.1:port", on which
// nothing listens now. It returns no address twice.
func Address() (string, error) {
	end := end()
	if end <= lowest {
		return "", fmt.Errorf("the kernel chooses ports from %d on: none are left for tests", end)
	}
	for range 1000 {
		port := lowest + rand.IntN(end-lowest)
		if !take(port) {
			continue
		}
		address := "127.0.0.1:" + strconv.Itoa(port)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no port is free: 1,000 were tried")
}

// take reports whether the port was not given before.
func take(port int) bool {
	given.Lock()
	defer given.Unlock()
	if given.ports[port] {
		return false
	}
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	given.ports[port] = true
	return true
}

// end is the first port that the kernel may choose.
func end() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ephemeral
	}
	var first int
	if _, err := fmt.Sscan(string(text), &first); err != nil {
		return ephemeral
	}
	return first
}
