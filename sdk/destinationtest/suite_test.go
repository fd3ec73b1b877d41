package destinationtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest/internal/store"
)

func harness() Harness {
	return Harness{
		Package: "./internal/liar",
		Config:  func(t T) map[string]any { return map[string]any{"path": t.TempDir()} },
		Bad: []BadConfig{{
			Name: "a size that is negative", Attributes: []string{"part_size"},
			Change: func(config map[string]any) { config["part_size"] = -1 },
		}},
		Read: func(_ context.Context, at Place) (map[string][]string, error) {
			return store.Read(at.Config["path"].(string), at.Project.ID, at.Stream)
		},
		Objects: func(_ context.Context, at Place) (map[string]string, error) {
			return store.Objects(at.Config["path"].(string), at.Project.ID, at.Stream)
		},
		Harm: func(ctx context.Context, at Place, object string, change func([]byte) []byte) error {
			return store.Harm(ctx, at.Config["path"].(string), at.Project.ID, at.Stream, object, change)
		},
		Unnamed: func(object string) string { return strings.Replace(object, "/0", "/9", 1) },
		Refused: []Row{event(firstDay, "refused-1", `{`+store.Refused+`}`), event(firstDay, "refused-2", `{`+store.Refused+`}`)},
	}
}

func TestAnHonestDestinationPasses(t *testing.T) {
	t.Parallel()
	Run(t, harness())
}

func TestAnHonestDestinationPassesWithoutCrashPoints(t *testing.T) {
	t.Parallel()
	h := harness()
	h.Command, h.Package = []string{build(t, h.Package)}, ""
	Run(t, h)
}

// A second set of checks has those of its names only, and a name that no check has ends it.
func TestLaws(t *testing.T) {
	t.Parallel()
	h := Harness{Laws: []string{"TwoRunsAddUp", "OneRowArrives"}}
	if got := h.laws(t); len(got) != 2 || got[0].name != "TwoRunsAddUp" || got[1].name != "OneRowArrives" {
		t.Errorf("the set has %d checks: %v", len(got), got)
	}
	r := &recorder{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Harness{Laws: []string{"OneRowArives"}}.laws(r)
	}()
	<-done
	if !r.failed || !strings.Contains(r.logs[0], "OneRowArives") {
		t.Errorf("a name that no check has: %q", r.logs)
	}
}

// lies name the checks of which each must fail.
var lies = map[string][]string{
	"description_changes":    {"DescribeAnswersTheSameEachTime"},
	"targets_change":         {"AGoodConfigurationHasATargetPerStream"},
	"targets_are_the_same":   {"AGoodConfigurationHasATargetPerStream"},
	"check_leaves_a_file":    {"CheckSucceedsAndLeavesNothing"},
	"check_fails":            {"CheckSucceedsAndLeavesNothing"},
	"loses_empty_runs":       {"ARunWithoutPartitionsCommits"},
	"never_commits":          {"APartitionWithoutRowsCommits", "OneRowArrives", "ARunWithoutPartitionsCommits"},
	"loses_one_row_runs":     {"OneRowArrives"},
	"loses_last_row":         {"TwoRunsAddUp", "RowsOfManyDaysArriveEachInItsOwn"},
	"one_file_for_a_date":    {"TheSameDateMayComeTwice"},
	"one_project":            {"TwoProjectsAreKeptApart"},
	"status_waits":           {"StatusAnswersWhileAPartitionIsWritten"},
	"forgets_content":        {"TheContentOfACommittedRunIsKept"},
	"compares_numbers_only":  {"CopiesOfAHostCannotCommitOneNumber"},
	"adopt_forgets_rows":     {"AnotherPipelinesTargetIsRefusedUnlessAdopted"},
	"one_day_for_all":        {"RowsOfManyDaysArriveEachInItsOwn"},
	"drops_unicode":          {"RowsArriveByteForByte"},
	"unescapes":              {"RowsArriveByteForByte"},
	"truncates_long_rows":    {"ALongRowArrives"},
	"swallows_refused_rows":  {"RefusedRowsComeBackAndTheRestCommits"},
	"rejects_the_wrong_row":  {"RefusedRowsComeBackAndTheRestCommits"},
	"replace_adds":           {"ReplacedSetsShowTheOldOneOrTheNew", "AReplacedSetOutlivesAKill"},
	"hole_in_replace":        {"ReplacedSetsShowTheOldOneOrTheNew", "AReplacedSetOutlivesAKill"},
	"inventory_forgets_days": {"InventoryCountsWhatWasCommitted"},

	"inventory_ignores_dates":        {"InventoryCountsWhatWasCommitted"},
	"inventory_is_shallow":           {"InventoryCountsWhatWasCommitted"},
	"inventory_repeats_the_record":   {"InventoryFindsHarm"},
	"inventory_compares_sizes":       {"InventoryFindsHarm"},
	"inventory_hides_unnamed_files":  {"ARepairRemovesOnlyUnnamedObjects"},
	"repair_restores_nothing":        {"ARepairRestoresWhatWasCommitted", "ARepairMayBeKilled"},
	"repair_changes_bytes":           {"ARepairRestoresWhatWasCommitted"},
	"repair_shows_early":             {"ARepairRestoresWhatWasCommitted"},
	"repair_moves_the_last_run":      {"ARepairRestoresWhatWasCommitted"},
	"repair_ignores_content":         {"ARepairKeepsOtherRuns"},
	"repair_ignores_older_fences":    {"ARepairKeepsOtherRuns"},
	"repair_records_no_fence":        {"ARepairKeepsOtherRuns"},
	"repair_ignores_fence_in_commit": {"AZombiesRepairChangesNothing"},
	"repair_removes_what_is_named":   {"ARepairRemovesOnlyUnnamedObjects"},

	"commits_in_prepare":      {"NothingIsCommittedBeforeCommit", "ACutStreamIsNeverACommit", "ARetryAfterAKillIsAsIfNothingHadHappened"},
	"everything_is_committed": {"AnUnknownRunIsAbsent", "ACutStreamIsNeverACommit", "AnAbortedRunIsAbsent"},
	"nothing_is_committed":    {"ALostReplyIsAnsweredByStatus", "OneRowArrives"},
	"always_in_doubt":         {"AnUnknownRunIsAbsent"},
	"commits_in_memory":       {"ACommittedRunOutlivesTheProcess"},
	"forgets_last_run":        {"ACommittedRunIsNotTakenAgain"},
	"abort_commits":           {"AnAbortedRunIsAbsent", "ACutStreamIsNeverACommit"},
	"discards_nothing":        {"AnAbortedRunIsAbsent"},
	"appends_on_retry":        {"ARetryAfterAKillIsAsIfNothingHadHappened"},
	"appends_each_batch":      {"AFrozenPluginLosesNothing", "ACutStreamIsNeverACommit"},
	"names_after_fence":       {"ARetryAfterAKillIsAsIfNothingHadHappened"},
	"bytes_change":            {"ARetryAfterAKillIsAsIfNothingHadHappened"},
	"ignores_fence_in_open":   {"AnOlderFenceIsRefused"},
	"records_no_fence":        {"AnOlderFenceIsRefused", "AZombieCannotCommit"},
	"ignores_fence_in_commit": {"AZombieCannotCommit"},
	"takes_others_target":     {"AnotherPipelinesTargetIsRefusedUnlessAdopted"},

	"ignores_totals":           {"WrongTotalsAreRefused"},
	"ignores_run_totals":       {"WrongTotalsAreRefused"},
	"ignores_payload_checksum": {"ADamagedPayloadIsRefused"},
	"takes_any_size":           {"AnOversizePayloadIsRefused"},
	"cut_is_commit":            {"ACutStreamIsNeverACommit"},
	"takes_any_configuration":  {"EveryMistakeInAConfigurationIsNamed"},
	"names_one_mistake":        {"EveryMistakeInAConfigurationIsNamed"},
	"retakes_committed_runs":   {"ACommittedRunIsNotTakenAgain"},
	"hides_the_class":          {"AnOlderFenceIsRefused", "AnotherPipelinesTargetIsRefusedUnlessAdopted"},
}

func TestEveryLieIsCaught(t *testing.T) {
	t.Parallel()
	h := harness().withDefaults(t)
	for lie, names := range lies {
		for _, name := range names {
			t.Run(lie+"/"+name, func(t *testing.T) {
				t.Parallel()
				h := h
				h.Env = []string{"PENSTOCK_TEST_LIE=" + lie}
				h.Timeout = impatient(lie, h.Timeout)
				if r := record(t, h, find(t, name)); !r.failed {
					t.Errorf("the check passed; it logged %q", r.logs)
				}
			})
		}
	}
}

func TestEveryCheckCatchesALie(t *testing.T) {
	t.Parallel()
	var caught []string
	for _, names := range lies {
		caught = append(caught, names...)
	}
	for _, c := range checks {
		if !slices.Contains(caught, c.name) {
			t.Errorf("no lie shows that %s can fail", c.name)
		}
	}
}

// The server without the SDK passes the checks that its lies fail: so a check
// catches the lie, not another fault of the server.
func TestTheRawServerPassesWithoutItsLies(t *testing.T) {
	t.Parallel()
	h := harness().withDefaults(t)
	h.Env = []string{"PENSTOCK_TEST_LIE=raw"}
	h.Bad = nil
	for _, name := range []string{
		"WrongTotalsAreRefused", "ADamagedPayloadIsRefused", "AnOversizePayloadIsRefused", "ACutStreamIsNeverACommit",
		"EveryMistakeInAConfigurationIsNamed", "ACommittedRunIsNotTakenAgain", "AnOlderFenceIsRefused",
		"AnotherPipelinesTargetIsRefusedUnlessAdopted",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := record(t, h, find(t, name)); r.failed {
				t.Errorf("the check failed:\n%s", r.logs)
			}
		})
	}
}

// impatient returns a shorter timeout for lies that make a check wait for it.
func impatient(lie string, timeout time.Duration) time.Duration {
	if lie == "always_in_doubt" {
		return 2 * time.Second
	}
	return timeout
}

func find(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	return checks[i]
}

// recorder is a T that keeps the messages of a check.
type recorder struct {
	*testing.T
	mu       sync.Mutex
	failed   bool
	logs     []string
	cleanups []func()
}

// record runs a check to its end and its clean-ups.
func record(t *testing.T, h Harness, c check) *recorder {
	r := &recorder{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.cleanup()
		c.hold(newBench(r, h))
	}()
	<-done
	return r
}

func (r *recorder) cleanup() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.failed = true
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.Logf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool { return r.failed }

func TestCompareNamesWhatIsMissingAndWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	want := map[string][]string{"2026-06-01": {"a", "b", "b"}, "2026-06-02": {"c"}}
	tests := map[string]struct {
		got  map[string][]string
		same bool
	}{
		"same":            {map[string][]string{"2026-06-01": {"b", "a", "b"}, "2026-06-02": {"c"}}, true},
		"a row less":      {map[string][]string{"2026-06-01": {"b", "a"}, "2026-06-02": {"c"}}, false},
		"a row twice":     {map[string][]string{"2026-06-01": {"b", "a", "b"}, "2026-06-02": {"c", "c"}}, false},
		"in another day":  {map[string][]string{"2026-06-01": {"b", "a", "b", "c"}}, false},
		"one day more":    {map[string][]string{"2026-06-01": {"b", "a", "b"}, "2026-06-02": {"c"}, "2026-06-03": {"d"}}, false},
		"an empty day":    {map[string][]string{"2026-06-01": {"b", "a", "b"}, "2026-06-02": {"c"}, "2026-06-03": {}}, true},
		"nothing at all":  {nil, false},
		"another content": {map[string][]string{"2026-06-01": {"b", "x", "b"}, "2026-06-02": {"c"}}, false},
	}
	for name, tt := range tests {
		if diff := compare(want, tt.got); (diff == "") != tt.same {
			t.Errorf("%s: compare = %q", name, diff)
		}
	}
}

func TestDataIsWhatItSays(t *testing.T) {
	t.Parallel()
	d := days("x", 3, 7)
	if n := len(d.lines()); n != 3 {
		t.Errorf("%d dates, want 3", n)
	}
	for _, stream := range []sdk.Stream{sdk.People, sdk.Identity} {
		if n := len(set(stream, "x", 10).lines()[""]); n != 10 {
			t.Errorf("%s: %d rows, want 10", stream, n)
		}
	}
}
