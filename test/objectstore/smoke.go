package objectstore

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// NewPrefix returns a prefix that no other test uses, with a slash at the end.
func NewPrefix() string { return "penstock-smoke/" + strings.ToLower(rand.Text()[:12]) + "/" }

// smokeCost describes the objects of the end-to-end comparison and their cost, at
// the given prices of requests.
func smokeCost(prices string) string {
	return fmt.Sprintf("about 40 objects of 2 MB together, which are removed at the end, and about 500 requests (%s): less than $0.01", prices)
}
