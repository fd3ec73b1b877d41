package collector

import "github.com/penstock-io/penstock/host/internal/schema"

// Aliases knows the aliases of legacy projects. It is used concurrently.
type Aliases interface {
	// Target is the id that an alias stands for, which may be an alias itself;
	// false when the id is not an alias.
	Target(project int64, alias string) (string, bool, error)
	// Store calls store, which makes aliases durable, and makes them known when
	// it has returned nil: to every request that comes after the answer. An alias
	// that is known already stays as it is.
	Store(aliases []Alias, store func() error) error
}

// Alias is an id that stands for another one in later events.
type Alias struct {
	Project int64
	Alias   string
	ID      string
}

// longChain is how many aliases are followed from one to the next; no longer
// chain is ever made.
const longChain = 1000

// resolve is the id that later events of an id are stored under.
func (q *request) resolve(project int64, id string) string {
	for range longChain {
		next, ok := q.alias(project, id)
		if !ok {
			break
		}
		id = next
	}
	return id
}

// alias is the id that another one stands for, by known aliases or by those of
// this request.
func (q *request) alias(project int64, id string) (string, bool) {
	target, ok, err := q.collector.o.Aliases.Target(project, id)
	if err != nil && q.unresolved == nil {
		q.unresolved = err
	}
	if ok || err != nil {
		return target, ok
	}
	for _, a := range q.aliases {
		if a.Project == project && a.Alias == id {
			return a.ID, true
		}
	}
	return "", false
}

// addAlias has the request's later events of an alias stored under an id, and
// reports whether it does: an alias that is known, or would stand for itself, is
// refused when links are folded.
func (q *request) addAlias(project *Project, l schema.Link) bool {
	if _, known := q.alias(project.ID, l.AnonymousID); known || q.resolve(project.ID, l.IdentifiedID) == l.AnonymousID {
		return false
	}
	q.aliases = append(q.aliases, Alias{Project: project.ID, Alias: l.AnonymousID, ID: l.IdentifiedID})
	return true
}
