package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host"
)

func TestStatusSaysEverything(t *testing.T) {
	t.Parallel()
	wrong := &host.ConfigurationError{}
	for _, tt := range []struct {
		err    error
		status int
		said   string
	}{
		{nil, 0, ""},
		{&shownError{3}, 3, ""},
		{usageError{errors.New("what?")}, 2, "penstock: what?\n"},
		{errors.New("no"), 1, "penstock: no\n"},
		{fmt.Errorf("begin: %w", wrong), 2, ""},
		{errors.Join(wrong, errors.New("and the disk")), 2, "penstock: and the disk\n"},
		{errors.Join(errors.Join(wrong, errors.New("one")), errors.New("two")), 2, "penstock: one\npenstock: two\n"},
	} {
		var out bytes.Buffer
		c := &cli{out: &out, err: &out}
		if status := c.status(tt.err); status != tt.status || out.String() != tt.said {
			t.Errorf("%v: status %d, %q", tt.err, status, out.String())
		}
	}
}

// A command line that cannot be carried out is the operator's mistake, whatever
// is wrong with it.
func TestACommandLineThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"statsu", "--colour", "run again", "run --twice", "run --retry-for 5s", "plan", "plugins remve", "quarantine show", "journal verify all", "runs list a b"} {
		var out bytes.Buffer
		c := &cli{out: &out, err: &out}
		root := newRoot(c)
		root.SetArgs(strings.Fields(args))
		if status := c.status(root.ExecuteContext(t.Context())); status != exitConfiguration {
			t.Errorf("penstock %s: status %d\n%s", args, status, out.String())
		}
	}
}

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
