package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// rivalEnv holds the path of a catalog. A test binary that finds it set is a process
// that works on that catalog, as its standard input says.
const rivalEnv = "PENSTOCK_TEST_RIVAL"

// rival carries out lines of standard input and answers each with a line: "ok", or the
// error.
//
//	register PIPELINE URI
//	plan PIPELINE
//	replace PIPELINE
//	lease PIPELINE NUMBER
func rival(path, owner string) int {
	ctx := context.Background()
	c, err := Open(ctx, path, owner)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer := "ok"
		if err := c.obey(ctx, strings.Fields(in.Text())); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
	return 0
}

func (c *Catalog) obey(ctx context.Context, words []string) error {
	switch words[0] {
	case "register":
		from, err := journal.ParseDay("2026-03-01")
		if err != nil {
			return err
		}
		def := pipeline.Definition{Name: words[1], ProjectID: project, Stream: batch.Events, Destination: "s3.lake", From: from, To: pipeline.Forever}
		_, err = c.RegisterPipeline(ctx, def, lake(words[2]), registeredAt)
		return err
	case "plan":
		p, err := c.Pipeline(ctx, words[1])
		if err != nil {
			return err
		}
		return c.InsertRun(ctx, p, unplanned(nil, pipeline.Cursor{BackfillDone: true}))
	case "replace": // the plan of the first run, by one with the owner's name as its content
		p, err := c.Pipeline(ctx, words[1])
		if err != nil {
			return err
		}
		lease, err := c.AcquireRun(ctx, p.ID, 1, c.owner, -time.Second)
		if err != nil {
			return err
		}
		plan := unplanned(nil, pipeline.Cursor{BackfillDone: true})
		plan.Content = c.owner
		return c.ReplaceRun(ctx, lease, plan)
	case "lease":
		p, err := c.Pipeline(ctx, words[1])
		if err != nil {
			return err
		}
		_, err = c.AcquireRun(ctx, p.ID, 1, c.owner, time.Hour)
		return err
	}
	return errors.New("unknown request")
}

// process is a process that works on a catalog.
type process struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func startRival(t *testing.T, path, owner string) *process {
	t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), rivalEnv+"="+path, rivalEnv+"_OWNER="+owner)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{in, bufio.NewScanner(out)}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// race asks both processes at one time, and returns the answers.
func race(t *testing.T, rivals []*process, requests ...string) []string {
	t.Helper()
	for i, p := range rivals {
		if _, err := fmt.Fprintln(p.in, requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	var answers []string
	for _, p := range rivals {
		if !p.out.Scan() {
			t.Fatalf("a process has ended: %v", p.out.Err())
		}
		answers = append(answers, p.out.Text())
	}
	return answers
}

// Two processes race on one catalog for registration, planning and leases: one wins,
// and the other says why.
func TestProcessesRaceOnOneCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, path, "look")
	if err := c.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	rivals := []*process{startRival(t, path, "host-1"), startRival(t, path, "host-2")}
	lost := func(what string, answers []string) (winner int, why string) {
		t.Helper()
		winner = slices.Index(answers, "ok")
		if winner < 0 || answers[1-winner] == "ok" {
			t.Fatalf("%s: %q", what, answers)
		}
		return winner, answers[1-winner]
	}
	for round := range 25 {
		names := []string{fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)}
		uri := fmt.Sprintf("s3://lake/%d/", round)
		answers := race(t, rivals, "register "+names[0]+" "+uri, "register "+names[1]+" "+uri+"deeper/")
		winner, why := lost("registration", answers)
		for _, said := range append(names, uri, "2026-03-01 and later") {
			if !strings.Contains(why, said) {
				t.Errorf("%q is not said in %q", said, why)
			}
		}
		name := names[winner]
		_, why = lost("planning", race(t, rivals, "plan "+name, "plan "+name))
		if !strings.Contains(why, ErrRunPlanned.Error()) || !strings.Contains(why, name) {
			t.Errorf("planning: %q", why)
		}
		answers = race(t, rivals, "replace "+name, "replace "+name)
		if !slices.Contains(answers, "ok") {
			t.Errorf("replacing a plan: %q", answers)
		}
		for i, answer := range answers {
			if answer != "ok" && answer != pipeline.ErrLeaseLost.Error() {
				t.Errorf("host-%d replaces a plan: %q", i+1, answer)
			}
		}
		if n := count(t, c, fmt.Sprintf(`SELECT COUNT(*) FROM runs r JOIN pipelines p ON p.id = r.pipeline WHERE p.name = '%s' AND r.content = r.owner AND r.fence = p.fence`, name)); n != 1 {
			t.Error("the plan is not that of the latest attempt")
		}
		winner, why = lost("lease", race(t, rivals, "lease "+name, "lease "+name))
		if owner := fmt.Sprintf("host-%d carries out run 1", winner+1); !strings.Contains(why, owner) {
			t.Errorf("lease: %q, want that %s", why, owner)
		}
	}
	if n := count(t, c, `SELECT COUNT(*) FROM pipelines`); n != 25 {
		t.Errorf("%d pipelines are registered", n)
	}
	if n := count(t, c, `SELECT COUNT(*) FROM runs`); n != 25 {
		t.Errorf("%d runs are planned", n)
	}
}
