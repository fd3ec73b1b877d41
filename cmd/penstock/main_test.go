package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host"
)

// Whoever reads that a run has failed also reads what to do.
func TestAFailedRunSaysHowItIsTriedAgain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &cli{out: &out}
	c.printPipelines([]host.PipelineStatus{
		{Name: "a", LastRun: &host.RunStatus{Number: 3, State: "failed", Error: "run 3 of pipeline a: no bucket"}},
		{Name: "b", LastRun: &host.RunStatus{Number: 4, State: "running", Error: "slow down"}},
	})
	_, said, _ := strings.Cut(out.String(), "\n\n")
	if want := "a, run 3: no bucket (penstock runs retry a 3 tries it again)\n\nb, run 4: slow down\n"; said != want {
		t.Errorf("it says\n%s, want\n%s", said, want)
	}
}
