package operation

import (
	"fmt"
	"time"
)

// Error names the missing segments, and the consequence.
func (m *MissingSegments) Error() string {
	return fmt.Sprintf("project %s: %d segments that the catalog lists are missing, such as %s: %d rows of %s to %s may be lost. "+
		"Restore the files from a backup; rows that are not exported yet stay behind until then", m.Project, m.Segments, m.First, m.Rows, m.From, m.To)
}

// ProjectStatus describes a project's journal.
type ProjectStatus struct {
	Name     string `json:"name"`
	ID       int64  `json:"id"`
	TimeZone string `json:"time_zone"`
	Sequence int64  `json:"sequence"`
	Segments int64  `json:"segments"`
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`
	// Identity is nil when no identity links were folded yet.
	Identity *IdentityStatus `json:"identity,omitempty"`
	// Failing says why the journal takes nothing now; "": it does.
	Failing string `json:"failing,omitempty"`
	// Missing is nil when all segments that the catalog lists are there.
	Missing *MissingSegments `json:"missing,omitempty"`
}

// MissingSegments sums up segments of a project that the catalog lists and that
// are not on the disk: rows that may be lost.
type MissingSegments struct {
	Project  string `json:"project"`
	Segments int64  `json:"segments"`
	Rows     int64  `json:"rows"`
	From     string `json:"from"` // UTC dates of the rows
	To       string `json:"to"`
	First    string `json:"first"` // the first of them
}

// IdentityStatus counts a project's folded identity links.
type IdentityStatus struct {
	Sequence int64            `json:"sequence"` // of the journal, up to which they are folded
	IDs      int64            `json:"ids"`      // that were linked
	Mappings int64            `json:"mappings"`
	Refused  map[string]int64 `json:"refused,omitempty"` // by reason
}

// IdentityFilter picks refused identity links.
type IdentityFilter struct {
	Project string `json:"project,omitempty"` // "" for all
	Limit   int    `json:"limit,omitempty"`   // of each project, the latest; 0: all that are kept
}

// IdentityFailures are refused identity links, the latest of each project
// first, and counts of all.
type IdentityFailures struct {
	Counts   []IdentityCount   `json:"counts"`
	Failures []IdentityFailure `json:"failures"`
}

// IdentityCount counts refused links by project and reason.
type IdentityCount struct {
	Project string `json:"project"`
	Reason  string `json:"reason"`
	Count   int64  `json:"count"`
}

// IdentityFailure is a link that was refused.
type IdentityFailure struct {
	Project      string    `json:"project"`
	Time         time.Time `json:"time"` // when it was accepted
	Reason       string    `json:"reason"`
	Description  string    `json:"description"`
	Verb         string    `json:"verb"` // link, identify, alias or merge
	AnonymousID  string    `json:"anonymous_id"`
	IdentifiedID string    `json:"identified_id"`
}
