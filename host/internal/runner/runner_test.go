package runner

import "testing"

// The error of a failed run names the command that tries it again, unless its reason
// names another one: a retry alone fails in the same way.
func TestRunFailedErrorNamesOneCommand(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"run 5 of pipeline p: no bucket":                                        "run 5 of pipeline p has failed: no bucket (penstock runs retry p 5 tries it again)",
		"run 5 of pipeline p: 'penstock pipelines recover p' compares the runs": "run 5 of pipeline p has failed: 'penstock pipelines recover p' compares the runs",
	} {
		err := &RunFailedError{Pipeline: "p", Number: 5, Reason: reason}
		if got := err.Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
