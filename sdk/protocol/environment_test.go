package protocol

import "testing"

func TestEnvironment(t *testing.T) {
	for entry, want := range map[string]bool{
		"AWS_*": true, "AWS_REGION": true, "a": true, "_x1": true,
		"": false, "*": false, "A*": false, "AW*": false, "A B": false, "A=B": false, "AWS*_X": false, "1A": false, "AWS_**": false,
	} {
		if got := ValidEnvironment(entry); got != want {
			t.Errorf("ValidEnvironment(%q) is %v", entry, got)
		}
	}
	for _, tt := range []struct {
		entry, name string
		want        bool
	}{
		{"AWS_*", "AWS_REGION", true}, {"AWS_*", "AWS_", true}, {"AWS_*", "XAWS_", false}, {"AWS_REGION", "AWS_REGION", true},
		{"AWS_REGION", "AWS_REGION_2", false}, {"AWS_REGION", "aws_region", false},
	} {
		if got := MatchesEnvironment(tt.entry, tt.name); got != tt.want {
			t.Errorf("MatchesEnvironment(%q, %q) is %v", tt.entry, tt.name, got)
		}
	}
}
