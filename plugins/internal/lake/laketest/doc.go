// Package laketest is the test kit of lakes.
//
// Checks are what every lake.Store must pass, each over a directory of its
// own, and what a lake over that store must do: the same run after any fault,
// two attempts in turns, a conditional write that was one's own. A store's test
// runs them over the process that plays its service:
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
// Faults stands before any store and lets one of its calls fail. Target reads
// what was exported, as one who knows docs/manifest.md alone.
package laketest
