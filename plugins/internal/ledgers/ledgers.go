package ledgers

import (
	"encoding/json"
	"fmt"

	"github.com/penstock-io/penstock/sdk"
)

// Entry is the row of a pipeline in a ledger.
type Entry struct {
	PipelineID, Pipeline string
	ProjectID            int64  // the Mixpanel project whose rows the target holds
	Fence                int64  // of the attempt that may commit
	Holder               string // text of the run that holds the fence: its content, or a text that begins with a mark
	Former               bool   // another pipeline has adopted the target
	Last                 sdk.LastRun
	Receipt              string // of Last, as EncodeReceipt returns it
}

// Target names a target in errors.
type Target struct {
	Name   string // of the table or view that is written to, as in "the table mp_master_event"
	Place  string // kind of the place that holds one project, as in "dataset"
	Ledger string // name of the ledger's table
}

// Admit returns the error of a run that must not claim the target. projectID is the
// project whose rows the target holds; entries are those of the pipelines by id. An entry
// with an empty id does not count.
func (t Target) Admit(projectID int64, entries map[string]Entry, run sdk.Run) error {
	mine, known := entries[run.PipelineID]
	switch {
	case projectID != run.ProjectID:
		return sdk.Configuration(fmt.Errorf("the %s holds the %s of project %d", t.Place, run.Stream, projectID), "give each project a "+t.Place+" of its own")
	case mine.Fence > run.Fence:
		return Fenced(mine.Fence, run.Fence)
	case run.Adopt:
		return nil
	case known && mine.Former:
		return t.adopted(run)
	case known:
		return nil
	}
	for id, e := range entries {
		if id != "" && !e.Former {
			return sdk.Configuration(fmt.Errorf("%s is held by pipeline %s (id %s), by the ledger %s", t.Name, e.Pipeline, e.PipelineID, t.Ledger),
				"set adopt = true to take it over, or use another "+t.Place)
		}
	}
	return nil
}

// Settled returns the outcome of a commit by the entry of its pipeline: whether the run
// is committed, or the error of an attempt that does not hold the target any more. holder
// is the text with which the attempt has claimed the target.
func (t Target) Settled(e Entry, run sdk.Run, holder string) (done bool, err error) {
	if e.Fence > run.Fence {
		return false, Fenced(e.Fence, run.Fence) // also if the newer attempt has committed the run
	}
	if done, err := e.Last.Holds(run); done || err != nil {
		return done, err
	}
	switch {
	case e.Former:
		return false, t.adopted(run)
	case e.Holder != holder && e.Fence == run.Fence:
		return false, SameFence(run.Fence)
	}
	return false, nil
}

// adopted is the error of a pipeline whose target another one has adopted. Adopting it
// again, a pipeline that appends rows leaves the other one's right to write, and one that
// replaces a set takes it.
func (t Target) adopted(run sdk.Run) error {
	advice := "set adopt = true to let both write"
	if run.Mode == sdk.Replace {
		advice = "set adopt = true to take it back"
	}
	return sdk.Configuration(fmt.Errorf("another pipeline has adopted %s", t.Name), advice+", or use another "+t.Place)
}

// Fenced is the error of an attempt that a newer one has overtaken.
func Fenced(theirs, ours int64) error {
	return sdk.Fenced(fmt.Errorf("a newer attempt holds the target: fence %d, this one has %d", theirs, ours))
}

// SameFence is the error of an attempt whose fence belongs to other rows: two copies of a
// catalog give equal fences.
func SameFence(fence int64) error {
	return sdk.Fenced(fmt.Errorf("another host holds the target with the same fence, %d, and other rows", fence))
}

// Status is the state of a run by the entry of its pipeline. The content of a run before the
// last one is known if the entry's receipt has it.
func (e Entry) Status(run sdk.Run) sdk.Status {
	s := sdk.Status{Last: e.Last, Fence: e.Fence}
	if e.Last.Number == run.Number {
		s.Content = e.Last.Content
		s.Receipt = decodeReceipt(e.Receipt, run.Number)
		return s
	}
	for _, earlier := range e.runs() {
		if earlier.Run == run.Number {
			s.Content = earlier.Content
		}
	}
	return s
}

// keptRuns is the number of earlier runs whose contents a receipt keeps: three weeks of
// hourly runs, in some 30 KB.
const keptRuns = 512

// Earlier are the contents of committed runs that a receipt keeps.
type Earlier []earlierRun

type earlierRun struct {
	Run     int64  `json:"run"`
	Content string `json:"content"`
}

// Earlier returns what the receipt of a run that follows the entry's last one is to keep:
// the contents of the latest 512 runs.
func (e Entry) Earlier() Earlier {
	runs := e.runs()
	if e.Last.Content != "" {
		runs = append(runs, earlierRun{e.Last.Number, e.Last.Content})
	}
	return runs[max(0, len(runs)-keptRuns):]
}

// runs returns the runs before the last one whose contents the entry has.
func (e Entry) runs() Earlier {
	var r receiptJSON
	if json.Unmarshal([]byte(e.Receipt), &r) != nil || r.Run != e.Last.Number {
		return nil
	}
	return r.Earlier
}

// receiptJSON is a receipt as a ledger keeps it.
type receiptJSON struct {
	Run        int64                  `json:"run"`
	Partitions []sdk.PartitionReceipt `json:"partitions"`
	Earlier    Earlier                `json:"earlier,omitempty"`
}

// EncodeReceipt returns the text of a run's receipt, which Status decodes. earlier, of the
// entry that the run's attempt has claimed, is kept with it; nil: nothing is.
func EncodeReceipt(run int64, r sdk.Receipt, earlier Earlier) (string, error) {
	data, err := json.Marshal(receiptJSON{run, r.Partitions, earlier})
	if err != nil {
		return "", fmt.Errorf("encode the receipt: %w", err)
	}
	return string(data), nil
}

// decodeReceipt returns the receipt of a run, or nil if the text is that of another
// run.
func decodeReceipt(text string, run int64) *sdk.Receipt {
	var r receiptJSON
	if json.Unmarshal([]byte(text), &r) != nil || r.Run != run {
		return nil
	}
	return &sdk.Receipt{Partitions: r.Partitions}
}
