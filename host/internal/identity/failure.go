package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Failure is a link that was refused.
type Failure struct {
	Number       int64           `json:"number"` // counted from 0 in the order of links
	Time         time.Time       `json:"time"`   // when the link was accepted
	Reason       Reason          `json:"reason"`
	Description  string          `json:"description"`
	Verb         schema.LinkVerb `json:"verb"`
	AnonymousID  string          `json:"anonymous_id"`
	IdentifiedID string          `json:"identified_id"`
}

func newFailure(number int64, l schema.Link, r *refusal) Failure {
	return Failure{
		Number: number, Time: time.Unix(l.Time, 0).UTC(), Reason: r.reason, Description: shorten(r.description), Verb: l.Verb,
		AnonymousID: shorten(l.AnonymousID), IdentifiedID: shorten(l.IdentifiedID),
	}
}

// longText is how many bytes of an id are kept in a failure.
const longText = 512

func shorten(text string) string {
	if len(text) <= longText {
		return text
	}
	end := longText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// Failures lists refused links among the folded ones, the latest first, at most
// limit; 0: all that are kept.
func (x *Index) Failures(limit int) ([]Failure, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []Failure
	err := x.retryRebuilt(func() (err error) {
		list, err = x.failures(limit)
		return err
	})
	return list, err
}

func (x *Index) failures(limit int) ([]Failure, error) {
	stored, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceFailure}, UpperBound: []byte{spaceFailure + 1}})
	if err != nil {
		return nil, fmt.Errorf("list refused links: %w", err)
	}
	var list []Failure
	for ok := stored.Last(); ok && err == nil && (limit == 0 || len(list) < limit); ok = stored.Prev() {
		var f Failure
		if err = json.Unmarshal(stored.Value(), &f); err == nil {
			list = append(list, f)
		}
	}
	if err = errors.Join(err, stored.Error(), stored.Close()); err != nil {
		return nil, fmt.Errorf("list refused links: %w", err)
	}
	return list, nil
}
