package setuptest

import (
	"slices"
	"strings"
	"testing"
)

// The commands of a pipeline run at once, and their words do not mix.
func TestCommandsOfAPipelineAreRecordedWhole(t *testing.T) {
	script := strings.Repeat("aws a b c d e f g h | gcloud i j k l m n o p | az q '' r\n", 20)
	var got []string
	for _, words := range execute(t, script+"snow x <<'END'\ny\nz\nEND\n") {
		got = append(got, strings.Join(words, " "))
	}
	if last := got[len(got)-1]; last != "snow x y\nz\n" {
		t.Errorf("the last command is %q", last)
	}
	slices.Sort(got)
	want := slices.Repeat([]string{"aws a b c d e f g h"}, 20)
	want = append(want, slices.Repeat([]string{"az q  r"}, 20)...)
	want = append(want, slices.Repeat([]string{"gcloud i j k l m n o p"}, 20)...)
	want = append(want, "snow x y\nz\n")
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q", got)
	}
}
