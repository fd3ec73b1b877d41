package destinationtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// T is the part of *testing.T that harness and checks use.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(f func())
	TempDir() string
	Context() context.Context
}

var _ T = (*testing.T)(nil)

// Harness tells the suite about one destination.
type Harness struct {
	// Package is the plugin's main package, as go build takes it: an import
	// path or a directory such as "./cmd/penstock-destination-x". It is built
	// with the tag crashpoints, once per Run.
	Package string
	// Command starts a plugin that is not built with Go, instead of Package. It
	// is then killed from outside, a little less exactly.
	Command []string
	// Env is added to the plugin's environment, which otherwise holds PATH,
	// HOME and TMPDIR only.
	Env []string

	// Config makes a good configuration with everything that is required, for a
	// place of its own that holds nothing. It is called once per check.
	Config func(t T) map[string]any
	// Bad are configurations that the plugin must refuse. Unknown attributes,
	// wrong types and missing required attributes are tried without being named
	// here.
	Bad []BadConfig
	// Project is the project that is configured. Zero: one with id 2195193, UTC
	// and no token.
	Project sdk.Project

	// Read returns the rows that a consumer sees as committed, by date ("" for
	// people and identity), in any order and without newlines.
	Read func(ctx context.Context, at Place) (map[string][]string, error)
	// Stored returns the text in which Read returns a row that was sent as line, for
	// a destination that keeps values and not their text: typed columns do not keep
	// the order of keys, and rows may be changed to fit them (package unusual). nil:
	// rows arrive byte for byte.
	Stored func(line string) string
	// Objects returns the objects that are stored at the place, committed or
	// not: a name that does not depend on the place, and a fingerprint of the
	// content. nil: the suite does not check that a retry leaves the same bytes.
	// Ledgers and manifests, which hold fences, are not among the objects.
	Objects func(ctx context.Context, at Place) (map[string]string, error)

	// Harm changes a stored object behind the destination's back. object is a name
	// from the inventory, or one that Unnamed has made. change gets the object's
	// bytes, nil if it does not exist, and returns those to store in their place,
	// nil to remove it. nil: inventory and repair are checked without harm only.
	Harm func(ctx context.Context, at Place, object string, change func([]byte) []byte) error
	// Unnamed returns another name of the pipeline's own, of the same run and date
	// as the object's, that no run of the suite writes. nil: it is not checked that
	// such objects are found and removed.
	Unnamed func(object string) string

	// Refused are events, as rows without newline, that the destination must
	// reject, with their flags. nil: it is not checked that rejected rows come
	// back. Of other rows only those with flags may be rejected.
	Refused []Row
	// LongestRow is the length in bytes of the longest row that must be stored;
	// longer rows may be rejected. 0: 1 MiB, the limit of the sources.
	LongestRow int

	// FenceInProcess says that the destination keeps fences only as long as its
	// process lives: it has no Opener. The zombie checks are then skipped.
	FenceInProcess bool
	// SharedTarget says that the destination does not know which pipeline holds
	// a target: it has no Opener.
	SharedTarget bool
	// OneProject says that a place holds the rows of one project: Open refuses a
	// second one.
	OneProject bool
	// VisibleEarly says that rows may be seen before Commit: the guarantee is
	// not Transaction, and Read cannot tell.
	VisibleEarly bool

	// KeepsAborted says that the objects of an aborted run stay, although the
	// host asked to discard them: the destination has no Aborter.
	KeepsAborted bool

	// Timeout bounds each call. 0: one minute.
	Timeout time.Duration

	// Extents sends the places of payloads in files instead of the payloads, as a
	// host does on the plugin's machine. The destination must not notice.
	Extents bool

	// Laws are the names of the checks to run, for a second set of checks over
	// another configuration of a destination that passes all of them. nil: all.
	Laws []string

	// Record is the path of a JSON file with the result of each check and the
	// Service that it was run against. Run fails when a full run has another
	// result; it writes the file when the flag -update of the test binary is set.
	// Empty: no file.
	Record  string
	Service Service
}

// Service names the server that a destination was tested with.
type Service struct {
	// Name of the server, with its version if it has one: "versitygw 1.8".
	Name string      `json:"name"`
	Kind ServiceKind `json:"kind"`
}

// ServiceKind tells how close a server is to the service of users.
type ServiceKind string

// The kinds.
const (
	RealServer ServiceKind = "real server" // the service itself
	Emulator   ServiceKind = "emulator"    // a server of others that speaks the service's protocol
	Fake       ServiceKind = "fake"        // written for these tests
)

// BadConfig is a configuration with mistakes.
type BadConfig struct {
	Name string
	// Change makes the mistakes in a good configuration.
	Change func(config map[string]any)
	// Attributes must each be named by a diagnostic; "" is the block.
	Attributes []string
}

// Place is where a check writes.
type Place struct {
	Config     map[string]any
	Project    sdk.Project
	Pipeline   string
	PipelineID string
	Stream     sdk.Stream
}

// Run runs every check as a subtest. It needs the go command when
// Harness.Package is set.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults(t)
	r := recording{Plugin: answers(newBench(t, h)), Service: h.Service}
	for _, c := range h.laws(t) {
		held := t.Run(c.name, func(t *testing.T) {
			b := newBench(t, h)
			defer func() { r.add(c, b.skipped) }()
			c.hold(b)
		})
		r.failed = r.failed || !held
	}
	if h.Record != "" {
		r.compare(t, h.Record)
	}
}

// laws returns the checks to run. It ends the suite at a name that no check has.
func (h Harness) laws(t T) []check {
	t.Helper()
	if h.Laws == nil {
		return checks
	}
	var chosen []check
	for _, name := range h.Laws {
		at := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
		if at < 0 {
			t.Fatalf("destinationtest: Harness.Laws has %q, which is not a check of the suite", name)
		}
		chosen = append(chosen, checks[at])
	}
	return chosen
}

// answers returns the plugin's name. It ends the suite when the plugin does not
// start, or does not answer Configure within Harness.Timeout: each check would
// wait for as long.
func answers(b *bench) string {
	p := b.start()
	defer p.kill()
	return p.describe().Name
}

// hold runs the check. A failure names the rule and where to read it.
func (c check) hold(b *bench) {
	b.Cleanup(func() {
		if b.Failed() {
			b.Logf("the rule: %s (%s)", c.rule, c.read)
		}
	})
	c.run(b)
}

// withDefaults builds the plugin and returns a complete copy.
func (h Harness) withDefaults(t T) Harness {
	t.Helper()
	if h.Config == nil || h.Read == nil {
		t.Fatalf("destinationtest: Harness needs Config and Read")
	}
	if (h.Package == "") == (len(h.Command) == 0) {
		t.Fatalf("destinationtest: Harness needs either Package or Command")
	}
	if h.Package != "" {
		h.Command = []string{build(t, h.Package)}
	}
	if h.Project.ID == 0 {
		h.Project = sdk.Project{ID: 2195193, Name: "shop", TimeZone: "UTC"}
	}
	if h.Timeout == 0 {
		h.Timeout = time.Minute
	}
	if h.Record != "" && (h.Service.Name == "" || h.Service.Kind == "") {
		t.Fatalf("destinationtest: Harness.Record needs Harness.Service")
	}
	if h.LongestRow == 0 {
		h.LongestRow = 1 << 20
	}
	return h
}
