package identity_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Aliases that the index never holds, because it refuses them, do not fill the
// room for good.
func TestAFullTableOfAliasesEmptiesItself(t *testing.T) {
	j := &memJournal{}
	x := open(t, identity.Options{Dir: t.TempDir(), Rules: schema.Legacy, Journal: j})
	if err := x.Fold(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	a := identity.NewAliases(x)
	const many = 100_000
	stored := func() error { return nil }
	err := a.Store(many, stored, func() error {
		for i := range many {
			if err := a.Add(fmt.Sprint("alias-", i), "id"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mark := a.Mark()
	if err := a.Store(1, stored, nil); !errors.Is(err, identity.ErrManyAliases) {
		t.Fatalf("a full table takes more: %v", err)
	}
	a.Forget(mark - 1)
	if _, ok, err := a.Target("alias-0"); !ok || err != nil {
		t.Fatalf("an alias is forgotten before its mark: %v", err)
	}
	a.Forget(mark)
	if _, ok, err := a.Target("alias-0"); ok || err != nil {
		t.Fatalf("an alias that was refused is still known: %v", err)
	}
	if err := a.Store(1, stored, func() error { return a.Add("later", "id") }); err != nil {
		t.Fatal(err)
	}
	a.Forget(mark)
	if _, ok, err := a.Target("later"); !ok || err != nil {
		t.Errorf("an alias is forgotten that is not folded: %v", err)
	}
}

func TestAliases(t *testing.T) {
	j := &memJournal{}
	j.add(t, "one", 10, 10, alias("D", "X"))
	x := open(t, identity.Options{Dir: t.TempDir(), Rules: schema.Legacy, Journal: j})
	a := identity.NewAliases(x)
	if _, _, err := a.Target("X"); err == nil {
		t.Error("an alias that is not folded is answered")
	}
	if err := x.Fold(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	store := func(links ...schema.Link) error {
		return a.Store(len(links), func() error {
			j.add(t, fmt.Sprint("segment", j.seq()), 10, 10, links...)
			return nil
		}, func() error {
			for _, l := range links {
				if err := a.Add(l.AnonymousID, l.IdentifiedID); err != nil {
					return err
				}
			}
			return nil
		})
	}
	want := func(what string) {
		t.Helper()
		for alias, target := range map[string]string{"X": "D", "Y": "X", "D": "Z", "Q": "\x01 \"", "W": "", "Z": "", "E": ""} {
			got, ok, err := a.Target(alias)
			if err != nil || got != target || ok != (target != "") {
				t.Errorf("%s: %s stands for %q, %v, %v; want %q", what, alias, got, ok, err, target)
			}
		}
	}
	// E is too late for X, Z would stand for itself, W does already.
	err := store(alias("X", "Y"), alias("E", "X"), alias("Z", "D"), alias("Y", "Z"), alias("W", "W"), alias("\x01 \"", "Q"))
	if err != nil {
		t.Fatal(err)
	}
	want("acknowledged")
	if err := a.Settle(); err != nil {
		t.Fatal(err)
	}
	want("not folded")
	if err := x.Fold(t.Context(), j.seq()); err != nil {
		t.Fatal(err)
	}
	want("folded")
	if err := a.Settle(); err != nil {
		t.Fatal(err)
	}
	want("forgotten")
	failed := errors.New("the log is full")
	err = a.Store(1, func() error { return failed }, func() error { return a.Add("W", "D") })
	if !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	want("not stored")
	if err := a.Store(1_000_000, func() error { t.Error("it is stored"); return nil }, nil); !errors.Is(err, identity.ErrManyAliases) {
		t.Errorf("%v", err)
	}
	if s := x.Stats(); s.Refused[identity.AliasExists] != 1 || s.Refused[identity.SameIDs] != 2 {
		t.Errorf("%+v", s)
	}
}
