package intake

import (
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// Known refuses a name by which no records can be in quarantine: it belongs to no source of
// the configuration, and to no record. The error lists the names that there are.
func Known(s *Set, name string) error {
	counts, err := s.o.Quarantine.Counts()
	if err != nil {
		return err
	}
	names := configured(s)
	for _, source := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(names, source) {
			names = append(names, source)
		}
	}
	switch {
	case slices.Contains(names, name):
		return nil
	case len(names) == 0:
		return operation.Faultf(operation.UnknownSource, "no source %q: the configuration has no source, and nothing is in quarantine", name)
	}
	return operation.Faultf(operation.UnknownSource, "no source %q in the configuration or in quarantine; there is %s", name, strings.Join(names, ", "))
}

// checkReplayable refuses a source that Known refuses, or that is not configured: records are
// parsed as its block says.
func checkReplayable(s *Set, name string) error {
	if slices.Contains(configured(s), name) {
		return nil
	}
	if err := Known(s, name); err != nil {
		return err
	}
	return operation.Faultf(operation.Conflict, "the records of %s cannot be replayed: the source is not in the configuration. Put its block back, or drop the records", name)
}

// configured returns the names of the sources of the configuration.
func configured(s *Set) []string {
	var names []string
	for _, x := range s.now.Load().all() {
		names = append(names, x.Name())
	}
	return names
}
