package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/sdk"
)

// Check tries on a small object in dir's manifest directory what an export
// will need: to write, to write on condition, to list, to read and to delete.
// unique tells two checks apart that run at one time. It leaves nothing
// behind but directories.
func Check(ctx context.Context, s Store, dir, unique string) []sdk.CheckResult {
	name := dir + manifestDir + "/check-" + unique
	var results []sdk.CheckResult
	try := func(action string, f func() error) bool {
		r := sdk.CheckResult{Action: action, OK: true}
		if err := f(); err != nil {
			r.OK, r.Detail = false, detail(err)
		}
		results = append(results, r)
		return r.OK
	}
	l := New(Options{Store: s})
	if !try("write", func() error { return l.put(ctx, name, []byte("check")) }) {
		return results
	}
	var version Version
	readable := try("read", func() (err error) {
		_, version, err = s.Read(ctx, name, 16)
		return err
	})
	try("list", func() error { return checkList(ctx, s, name) })
	if readable {
		try("conditional write", func() error { return checkConditions(ctx, s, name, version) })
	}
	try("list and abort uploads", func() error {
		return s.AbortUploads(ctx, name, func(string) bool { return true })
	})
	try("delete", func() error { return s.Delete(ctx, []string{name}) })
	return results
}

// detail is an error with its hint.
func detail(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) && e.Hint != "" {
		return err.Error() + "; " + e.Hint
	}
	return err.Error()
}

func checkList(ctx context.Context, s Store, name string) error {
	found := false
	err := s.List(ctx, name, false, func(o Object) error {
		found = found || o.Name == name
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%s was written and is not listed", name)
	}
	return err
}

// checkConditions finds stores that take a conditional write for a plain one:
// on those no fence would hold.
func checkConditions(ctx context.Context, s Store, name string, version Version) error {
	for _, prev := range []Version{"", `"0123456789abcdef0123456789abcdef"`} {
		_, err := s.WriteIf(ctx, name, []byte("check"), prev)
		if err == nil {
			return errors.New("the store ignored the condition of a write (If-Match, If-None-Match): two writers could overwrite each other's manifest")
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	_, err := s.WriteIf(ctx, name, []byte("check again"), version)
	return err
}
