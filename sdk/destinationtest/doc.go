// Package destinationtest is the conformance suite for destination plugins. It
// builds the plugin, starts it as a process, speaks the real wire to it, kills
// and freezes it at each phase of a run, and reads back what a consumer of the
// destination would see.
//
//	func TestConformance(t *testing.T) {
//		destinationtest.Run(t, destinationtest.Harness{
//			Package: "example.com/penstock-destination-ndjson",
//			Config:  func(t destinationtest.T) map[string]any { return map[string]any{"path": t.TempDir()} },
//			Read:    readCommitted,
//		})
//	}
//
// Each check is named after the law that it holds. The limits of a destination
// are stated in the Harness, and a check that meets one is skipped or weaker; it
// is never left out in silence.
//
// The suite itself is tested with destinations that lie: for each check there
// is one that it must catch.
//
// A pass says that the destination behaved in these situations against the
// service that the Harness names. It does not show that a service that was
// emulated behaves like the real one, and it measures no speed.
package destinationtest
