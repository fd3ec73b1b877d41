package identity

import (
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Reason says why a link was refused.
type Reason string

// The reasons, in the names that Mixpanel gives them.
const (
	SameIDs         Reason = "errSameIDs"
	NotAGUID        Reason = "errAnonDistinctIdNonGUIDForm"
	AlreadyAssigned Reason = "errAnonDistinctIdAssignedAlready"
	AliasExists     Reason = "errAliasAlreadyExists"
	ManyIDs         Reason = "errManyIDs"
)

// refusal is why a link does not hold; nil when it does.
type refusal struct {
	reason      Reason
	description string
}

func refuse(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// rules apply a link to the table, which they leave alone when they refuse it.
// A link that holds already changes nothing, and is not refused.
type rules func(t *table, l schema.Link) (*refusal, error)

func rulesOf(kind schema.Identity, limit int) rules {
	switch kind {
	case schema.Original:
		return original{limit}.apply
	case schema.Legacy:
		return legacy{limit}.apply
	default:
		return simplified
	}
}

// simplified applies a link by the simplified rules: the first link of a device
// holds. The table's value of an id is the user that it stands for, and empty for a
// user.
func simplified(t *table, l schema.Link) (*refusal, error) {
	if l.Verb != schema.VerbLink {
		return nil, nil // verbs have no effect
	}
	device, user := keyOf(l.AnonymousID), keyOf(l.IdentifiedID)
	if device == user {
		return refuse(SameIDs, "$device_id and $user_id are the same: %s", l.IdentifiedID), nil
	}
	stands, known, err := t.get(device)
	if err != nil {
		return nil, err
	}
	if known && stands == user.id() {
		return nil, nil
	}
	of, seen, err := t.get(user)
	if err != nil {
		return nil, err
	}
	// A user whose id is also a device that stands for another user, or the
	// reverse, would need a second hop.
	if known || seen && of != "" {
		return refuse(AlreadyAssigned, "$anon_distinct_id already identified: %s", l.AnonymousID), nil
	}
	t.set(device, user.id())
	t.changed(device)
	t.counts.IDs++
	t.counts.Mappings++
	if !seen {
		t.set(user, "")
		t.counts.IDs++
	}
	return nil, nil
}

// original applies links by the original rules: ids are joined into clusters of at
// most limit. The table's value of an id begins with the number of its cluster.
type original struct{ limit int }

func (o original) apply(t *table, l schema.Link) (*refusal, error) {
	if l.Verb == schema.VerbLink {
		return nil, nil // ids on ordinary events do nothing
	}
	first, second := keyOf(l.IdentifiedID), keyOf(l.AnonymousID)
	if first == second {
		if l.Verb == schema.VerbIdentify {
			return refuse(SameIDs, "Identified and anon ID are same in the identify request %s", l.AnonymousID), nil
		}
		return nil, nil
	}
	if l.Verb == schema.VerbIdentify && !isGUID(l.AnonymousID) {
		return refuse(NotAGUID, "$anon_distinct_id didn't match expected GUID pattern: %s", l.AnonymousID), nil
	}
	a, err := t.clusterOf(first)
	if err != nil {
		return nil, err
	}
	b, err := t.clusterOf(second)
	if err != nil {
		return nil, err
	}
	if a == nil || a != b {
		if r := o.check(l, a, b, second); r != nil {
			return r, nil
		}
		if a, err = t.join(first, second, a, b); err != nil {
			return nil, err
		}
	}
	if l.Verb == schema.VerbIdentify && !a.identified {
		return nil, t.identify(a, first)
	}
	return nil, nil
}

// check returns the reason not to join two clusters, or nil. A nil cluster is that
// of an id that was never linked.
func (o original) check(l schema.Link, a, b *cluster, second key) *refusal {
	switch {
	case l.Verb == schema.VerbIdentify && b != nil && b.identified:
		return refuse(AlreadyAssigned, "$anon_distinct_id already identified: %s", l.AnonymousID)
	case l.Verb == schema.VerbAlias && b != nil && b.head != second:
		return refuse(AliasExists, "alias already exists with the id")
	}
	if n := a.count() + b.count(); n > o.limit {
		return refuse(ManyIDs, "too many distinctIDs mapped together, Cluster size: %d Max limit: %d", n, o.limit)
	}
	return nil
}

// isGUID reports whether an id, without the prefix that some clients give it, is a
// UUID of version 4.
func isGUID(id string) bool {
	id = strings.TrimPrefix(id, "$device:")
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i] | 0x20
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if id[i] != '-' {
				return false
			}
		case i == 14 && c != '4', i == 19 && c != '8' && c != '9' && c != 'a' && c != 'b':
			return false
		case (id[i] < '0' || id[i] > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// legacy applies links by the legacy rules: later events of an alias are stored
// under the id that it stands for. The table's value of an alias is that id. There
// are no mappings.
type legacy struct{ limit int }

func (o legacy) apply(t *table, l schema.Link) (*refusal, error) {
	if l.Verb != schema.VerbAlias {
		return nil, nil // the others have no effect
	}
	alias, target := keyOf(l.AnonymousID), keyOf(l.IdentifiedID)
	was, known, err := t.get(alias)
	if err != nil {
		return nil, err
	}
	if known {
		if was == target.id() {
			return nil, nil
		}
		return refuse(AliasExists, "alias already exists with the id"), nil
	}
	// The chain of ids that it would stand for must end, and not at the alias.
	for at, steps := target, 1; ; steps++ {
		if at == alias {
			return refuse(SameIDs, "alias stands for itself: %s", l.AnonymousID), nil
		}
		if steps > o.limit {
			return refuse(ManyIDs, "too many distinctIDs mapped together, Cluster size: %d Max limit: %d", steps, o.limit), nil
		}
		next, ok, err := t.get(at)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		at = keyOfInside(next)
	}
	t.set(alias, target.id())
	t.counts.IDs++
	return nil, nil
}
