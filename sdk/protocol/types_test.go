package protocol

import "testing"

func TestLastRunHolds(t *testing.T) {
	t.Parallel()
	last := LastRun{Number: 4, Content: "a"}
	for name, tt := range map[string]struct {
		last  LastRun
		run   Run
		holds bool
		taken bool
	}{
		"the next run":                   {last, Run{Number: 5, Content: "b"}, false, false},
		"the run itself":                 {last, Run{Number: 4, Content: "a"}, true, false},
		"an earlier run":                 {last, Run{Number: 3, Content: "z"}, true, false},
		"another content":                {last, Run{Number: 4, Content: "b"}, false, true},
		"a content that was not kept":    {LastRun{Number: 4}, Run{Number: 4, Content: "a"}, false, true},
		"a content that is not known":    {last, Run{Number: 4}, false, true},
		"neither has a content":          {LastRun{Number: 4}, Run{Number: 4}, true, false},
		"nothing is committed":           {LastRun{}, Run{Number: 1, Content: "a"}, false, false},
		"the next run of other contents": {LastRun{Number: 4}, Run{Number: 5}, false, false},
	} {
		holds, err := tt.last.Holds(tt.run)
		if holds != tt.holds || (err != nil) != tt.taken {
			t.Errorf("%s: Holds = %v, %v; want %v, taken %v", name, holds, err, tt.holds, tt.taken)
		}
		if err != nil && ClassOf(err) != Permanent {
			t.Errorf("%s: class %v", name, ClassOf(err))
		}
	}
	if run := (Run{Number: 7, Content: "c"}); run.Last() != (LastRun{Number: 7, Content: "c"}) {
		t.Errorf("Last = %+v", run.Last())
	}
}
