package lake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func TestOlderFenceIsRefused(t *testing.T) {
	s := laketest.NewMemory()
	if _, err := newLake(s).Open(t.Context(), events(1, 5)); err != nil {
		t.Fatal(err)
	}
	_, err := newLake(s).Open(t.Context(), events(1, 4))
	if protocol.ClassOf(err) != protocol.Fenced {
		t.Errorf("open with an older fence: %v", err)
	}
	if _, err := newLake(s).Open(t.Context(), events(1, 5)); err != nil {
		t.Errorf("open again with the same fence: %v", err)
	}
}

// A zombie is an attempt that goes on after a newer one has opened.
func TestZombieCannotCommit(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		for _, newerCommits := range []bool{false, true} {
			d := someDays
			if kind(1, 1).Mode == sdk.Replace {
				d = days{"": 2}
			}
			s := laketest.NewMemory()
			mustExport(t, newLake(s), kind(1, 1), d)
			zombie := newLake(s)
			r, err := attempt(t.Context(), zombie, kind(2, 2), d)
			if err != nil {
				t.Fatal(err)
			}
			newer := newLake(s)
			again, err := attempt(t.Context(), newer, kind(2, 3), d)
			if err != nil {
				t.Fatal(err)
			}
			if newerCommits {
				if err := newer.Commit(t.Context(), kind(2, 3), again); err != nil {
					t.Fatal(err)
				}
				mustExport(t, newLake(s), kind(3, 4), d)
			}
			before := s.Objects()
			if err := zombie.Commit(t.Context(), kind(2, 2), r); protocol.ClassOf(err) != protocol.Fenced {
				t.Errorf("commit with an older fence: %v", err)
			}
			for name, content := range s.Objects() {
				if before[name] != content {
					t.Errorf("the zombie changed %s", name)
				}
			}
		}
	}
}

// Two copies of a catalog export runs of one number, and give them the same
// fence: one of them commits, and the other neither commits nor takes that
// commit for its own.
func TestCopiesCannotCommitOneNumber(t *testing.T) {
	for _, kind := range []func(number, fence int64) sdk.Run{events, people} {
		for _, laterFirst := range []bool{false, true} {
			d := someDays
			if kind(1, 1).Mode == sdk.Replace {
				d = days{"": 2}
			}
			s := laketest.NewMemory()
			mustExport(t, newLake(s), kind(1, 1), d)
			ours, theirs := kind(2, 2), kind(2, 2)
			theirs.Content = "theirs"
			earlier, later := newLake(s), newLake(s)
			r, err := attempt(t.Context(), earlier, ours, d)
			if err != nil {
				t.Fatal(err)
			}
			opened := s.Objects()
			q, err := attempt(t.Context(), later, theirs, d)
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range s.Objects() {
				// Versions may follow from the bytes, as S3's do.
				if strings.HasSuffix(name, "c0ffee.json") && opened[name] == content {
					t.Errorf("%s: opening a copy's run has not changed the manifest", ours.Stream)
				}
			}
			commitLater := func() {
				if err := later.Commit(t.Context(), theirs, q); err != nil {
					t.Fatal(err)
				}
			}
			want := protocol.Retryable // the later attempt may still fail
			if laterFirst {
				commitLater()
				want = protocol.Permanent
			}
			before := s.Objects()
			if err := earlier.Commit(t.Context(), ours, r); err == nil || protocol.ClassOf(err) != want {
				t.Errorf("%s: commit of the copy that opened first: %v, want it %s", ours.Stream, err, want)
			}
			if diff := cmp.Diff(before, s.Objects()); diff != "" {
				t.Errorf("%s: the refused commit changed objects:\n%s", ours.Stream, diff)
			}
			if !laterFirst {
				commitLater()
			}
			for run, want := range map[*sdk.Run]string{&ours: "theirs", &theirs: "theirs"} {
				status, err := newLake(s).Status(t.Context(), *run)
				if err != nil || status.State != sdk.Committed || status.Content != want || status.Last != theirs.Last() {
					t.Errorf("%s: status %+v, %v", run.Stream, status, err)
				}
			}
			if last, err := newLake(s).Open(t.Context(), ours); err != nil || last != theirs.Last() {
				t.Errorf("%s: opened again, the last run is %+v, %v", ours.Stream, last, err)
			}
		}
	}
}

// A run that was prepared and given up is absent after a later run has committed,
// although its receipt is stored.
func TestRunThatWasGivenUpIsAbsent(t *testing.T) {
	s := laketest.NewMemory()
	if _, err := attempt(t.Context(), newLake(s), events(1, 1), someDays); err != nil {
		t.Fatal(err)
	}
	mustExport(t, newLake(s), events(2, 2), days{"2026-06-01": 1})
	for number, want := range map[int64]sdk.RunState{1: sdk.Absent, 2: sdk.Committed, 3: sdk.Absent} {
		status, err := newLake(s).Status(t.Context(), events(number, 9))
		if err != nil || status.State != want || status.Last.Number != 2 {
			t.Errorf("run %d: %+v, %v", number, status, err)
		}
	}
}

func TestManifestInTheFormerPlaceIsRefused(t *testing.T) {
	s := laketest.NewMemory()
	former := dir + "_penstock/events_to_out-c0ffee.json"
	if _, err := s.WriteIf(t.Context(), former, []byte("{}"), ""); err != nil {
		t.Fatal(err)
	}
	_, err := newLake(s).Open(t.Context(), events(2, 2))
	if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), former) {
		t.Errorf("a manifest in the former place: %v", err)
	}
}

func TestManifestsThatCannotBeKept(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":       "{",
		"not a manifest": `{"format":"other"}`,
		"a newer one":    `{"format":"penstock-manifest","version":2}`,
	} {
		s := laketest.NewMemory()
		if _, err := s.WriteIf(t.Context(), manifest, []byte(text), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := newLake(s).Open(t.Context(), events(1, 1)); protocol.ClassOf(err) != protocol.Permanent {
			t.Errorf("%s: %v", name, err)
		}
		if s.Objects()[manifest] != text {
			t.Errorf("%s: the manifest was overwritten", name)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for _, change := range []func(*sdk.Run){
		func(r *sdk.Run) { r.Pipeline = "../up" },
		func(r *sdk.Run) { r.PipelineID = "" },
		func(r *sdk.Run) { r.PipelineID = "a/b" },
		func(r *sdk.Run) { r.Number = -1 },
		func(r *sdk.Run) { r.Stream = 9 },
	} {
		run := events(1, 1)
		change(&run)
		if _, err := newLake(laketest.NewMemory()).Open(t.Context(), run); protocol.ClassOf(err) != protocol.Permanent {
			t.Errorf("%+v: %v", run, err)
		}
	}
	l := newLake(laketest.NewMemory())
	if _, err := l.Open(t.Context(), events(1, 1)); err != nil {
		t.Fatal(err)
	}
	for _, date := range []string{"", "2026-6-1", "2026-02-30", "../2026", "2026-06-01x"} {
		if _, err := l.Write(t.Context(), events(1, 1), sdk.Partition{Date: date}, laketest.Reader("x", 1, 1)); err == nil {
			t.Errorf("date %q was taken", date)
		}
	}
	for _, prefix := range []string{"a//b", "..", "a/../b", "./a", "a\x00b", `a\b`} {
		if _, err := lake.CleanPrefix(prefix); err == nil {
			t.Errorf("prefix %q was taken", prefix)
		}
	}
	if got, err := lake.CleanPrefix("/a/b/"); got != "a/b" || err != nil {
		t.Errorf("prefix is %q, %v", got, err)
	}
}

func TestCheckFindsAStoreWithoutConditions(t *testing.T) {
	s := laketest.NewMemory()
	for _, r := range lake.Check(t.Context(), s, "exports", 42, "1") {
		if !r.OK {
			t.Errorf("%s: %s", r.Action, r.Detail)
		}
	}
	if left := s.Objects(); len(left) != 0 {
		t.Errorf("check left %v", left)
	}
	failed := false
	for _, r := range lake.Check(t.Context(), careless{s}, "exports", 42, "1") {
		failed = failed || !r.OK && r.Action == "conditional write"
	}
	if !failed {
		t.Error("a store that ignores conditions passed")
	}
}

// One failed connection is one result; other failures keep no operation from being tried.
func TestCheckNamesAnUnreachableServiceOnce(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"refused connection", fmt.Errorf("send: %w", refused), 1},
		{"unknown name", &net.DNSError{Err: "no such host", Name: "s3.example"}, 1},
		{"broken connection", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, 7},
		{"no permission", errors.New("access denied"), 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			results := lake.Check(t.Context(), failing{laketest.NewMemory(), tt.err}, "exports", 42, "1")
			if len(results) != tt.want || results[0].OK {
				t.Fatalf("%d results, want %d: %+v", len(results), tt.want, results)
			}
			if said := strings.Contains(results[0].Detail, "cannot be reached"); said != (tt.want == 1) {
				t.Errorf("it says %q", results[0].Detail)
			}
		})
	}
}

// failing is a store that takes no object.
type failing struct {
	*laketest.Memory
	err error
}

func (f failing) Create(context.Context, string, lake.Attempt) (lake.Upload, error) {
	return nil, f.err
}

// careless ignores the conditions of writes.
type careless struct{ *laketest.Memory }

func (c careless) WriteIf(ctx context.Context, name string, data []byte, _ lake.Version) (lake.Version, error) {
	_, version, err := c.Read(ctx, name, 1)
	if err != nil && !errors.Is(err, lake.ErrNotFound) {
		return "", err
	}
	return c.Memory.WriteIf(ctx, name, data, version)
}

func TestWriterWhoseUploadWasEndedIsFenced(t *testing.T) {
	s := laketest.NewMemory()
	old := newLake(s)
	if _, err := old.Open(t.Context(), events(1, 1)); err != nil {
		t.Fatal(err)
	}
	overtake := true
	_, err := old.Write(t.Context(), events(1, 1), sdk.Partition{Date: "2026-06-01"}, batch.NewReader(func() (*batch.Batch, error) {
		if !overtake {
			if _, err := newLake(s).Open(t.Context(), events(1, 2)); err != nil {
				t.Error(err)
			}
			return nil, io.EOF
		}
		overtake = false
		return laketest.Batch(laketest.Rows("x", 1))
	}, nil))
	if err == nil {
		err = old.Prepare(t.Context(), events(1, 1), sdk.Receipt{})
	}
	if protocol.ClassOf(err) != protocol.Fenced {
		t.Errorf("a writer that was overtaken: %v", err)
	}
	if n := len(data(s)); n != 0 {
		t.Errorf("it left %d objects", n)
	}
}
