package identity

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// ErrManyAliases says that too many aliases wait to be folded.
var ErrManyAliases = errors.New("too many aliases wait to be folded")

// errNotFolded says that the index does not hold all sealed links yet.
var errNotFolded = errors.New("the identity index is being rebuilt")

// manyAliases is how many aliases may wait to be folded.
const manyAliases = 100_000

// Aliases knows the aliases of a project of legacy rules: those that are folded,
// and those that were acknowledged since. It may be used concurrently.
//
// The index must be folded up to all that was ever acknowledged before the first
// call, and may be folded further at any time.
type Aliases struct {
	x *Index

	store sync.Mutex // held by Store
	mu    sync.RWMutex
	fresh map[string]freshAlias // acknowledged, and perhaps not folded
	mark  uint64                // the latest that Mark has returned
}

// freshAlias is an alias that was acknowledged.
type freshAlias struct {
	id   string // that it stands for
	mark uint64 // the first that Mark returned after the alias was added
}

// NewAliases returns the aliases of an index.
func NewAliases(x *Index) *Aliases { return &Aliases{x: x, fresh: map[string]freshAlias{}} }

// Target returns the id that an alias stands for, which may be an alias itself. It
// returns false if the id is not an alias.
func (a *Aliases) Target(alias string) (string, bool, error) {
	a.mu.RLock()
	known, ok := a.fresh[alias]
	a.mu.RUnlock()
	if ok {
		return known.id, true, nil
	}
	return a.x.target(alias)
}

// Store calls store, which makes n aliases durable, and then add, which calls
// Add for each. Stores come one after the other, so that aliases are known in
// the order in which they were made durable. ErrManyAliases before store is
// called when there is no room.
func (a *Aliases) Store(n int, store func() error, add func() error) error {
	a.store.Lock()
	defer a.store.Unlock()
	a.mu.RLock()
	full := len(a.fresh)+n > manyAliases
	a.mu.RUnlock()
	if full {
		return ErrManyAliases
	}
	if err := store(); err != nil {
		return err
	}
	return add()
}

// Add makes an alias known, by the rules by which it will be folded.
func (a *Aliases) Add(alias, id string) error {
	if _, known, err := a.Target(alias); known || err != nil {
		return err
	}
	for at, steps := id, 1; ; steps++ {
		if at == alias || steps > a.x.o.Limit {
			return nil // it is refused
		}
		next, ok, err := a.Target(at)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		at = next
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fresh[alias] = freshAlias{id, a.mark + 1}
	return nil
}

// Mark divides aliases by time, for Forget: those that were added before belong
// to the mark that it returns, later ones do not.
func (a *Aliases) Mark() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark++
	return a.mark
}

// Forget drops the aliases that were added before a mark. The caller has folded
// everything that was acknowledged before that mark: the index holds these
// aliases, or has refused them. Their room is freed in both cases.
func (a *Aliases) Forget(mark uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for alias, f := range a.fresh {
		if f.mark <= mark {
			delete(a.fresh, alias)
		}
	}
}

// Settle drops the aliases that the index holds already.
func (a *Aliases) Settle() error {
	a.mu.RLock()
	var folded []string
	var err error
	for alias := range a.fresh {
		var ok bool
		if _, ok, err = a.x.target(alias); err != nil {
			break
		}
		if ok {
			folded = append(folded, alias)
		}
	}
	a.mu.RUnlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, alias := range folded {
		delete(a.fresh, alias)
	}
	return err
}

// target returns the id that a folded alias stands for. It does not wait for a
// fold.
func (x *Index) target(alias string) (target string, ok bool, err error) {
	x.look.RLock()
	defer x.look.RUnlock()
	if x.db == nil || !x.whole {
		return "", false, errNotFolded
	}
	value, closer, err := x.db.Get(idKey(nil, keyOf(alias)))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look up an alias: %w", err)
	}
	target = schema.Unescape(value)
	return target, true, closer.Close()
}
