// Package laketest is the test kit of lakes.
//
// Checks returns the checks that every lake.Store must pass, each in a directory
// of its own. They cover the store's contract and a lake over the store: a run
// that survives any fault, two attempts in turns, a conditional write whose
// answer was lost. A store's test runs them over the process that stands in for
// its service:
//
//	for i, c := range laketest.Checks() {
//		t.Run(c.Name, func(t *testing.T) {
//			if err := c.Run(t.Context(), store, fmt.Sprintf("a/b%d/", i)); err != nil {
//				t.Fatal(err)
//			}
//		})
//	}
//
// Memory is a store in memory that treats uploads as one of the services does.
// Faults wraps any store and makes one of its calls fail. Target reads exported
// rows by the rules of docs/manifest.md, without the lake's code.
package laketest
