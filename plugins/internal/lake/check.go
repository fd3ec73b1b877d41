package lake

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/penstock-io/penstock/sdk"
)

// Check tries every operation of an export on small objects: write, read, list,
// overwrite, conditional write, fence and replace, delete. A failed operation
// does not keep the others from being tried, unless the first one does not reach the
// service: all others would wait for the same error. unique distinguishes two checks
// that run at the same time. Check removes its objects; a failed removal is
// reported with their names.
//
// root is that of the lake's Options.
func Check(ctx context.Context, s Store, root string, projectID int64, unique string) []sdk.CheckResult {
	dir := manifestsOf(root, projectID, eventsDir)
	c := check{
		ctx: ctx, store: s, by: NewAttempt(1, 1),
		name: dir + "check-" + unique, set: dir + "check-set-" + unique,
	}
	c.written = c.try("write", func() error { return put(ctx, s, c.name, []byte("check"), c.by) })
	if c.unreachable {
		c.results[0].Detail += "; the service cannot be reached: the other operations on objects were not tried"
		return c.results
	}
	c.try("read", c.read)
	c.try("overwrite", func() error { return put(ctx, s, c.name, []byte("check again"), c.by) })
	c.try("list", c.list)
	c.try("conditional write", c.conditions)
	c.try("replace a set", c.replace)
	c.try("delete", c.remove)
	return c.results
}

type check struct {
	ctx     context.Context
	store   Store
	by      Attempt
	name    string // of an object that is written
	set     string // of an object that is replaced
	written bool   // whether name exists
	results []sdk.CheckResult
	// unreachable says that the latest failed operation could not connect to the service.
	unreachable bool
}

func (c *check) try(action string, f func() error) bool {
	r := sdk.CheckResult{Action: action, OK: true}
	if err := f(); err != nil {
		r.OK, r.Detail = false, Detail(err)
		c.unreachable = isUnreachable(err)
	}
	c.results = append(c.results, r)
	return r.OK
}

// isUnreachable reports whether no connection to the service could be made: its name
// is unknown, or nothing listens at its address.
func isUnreachable(err error) bool {
	var name *net.DNSError
	var dial *net.OpError
	return errors.As(err, &name) || errors.As(err, &dial) && dial.Op == "dial"
}

func (c *check) read() error {
	_, _, err := c.store.Read(c.ctx, c.name, 16)
	if !c.written && errors.Is(err, ErrNotFound) {
		return nil // reading is allowed; the object does not exist
	}
	return err
}

func (c *check) list() error {
	found := false
	err := c.store.List(c.ctx, c.name, false, func(o Object) error {
		found = found || o.Name == c.name
		return nil
	})
	if err == nil && c.written && !found {
		err = fmt.Errorf("%s was written and is not listed", c.name)
	}
	if ender, ok := c.store.(UploadEnder); ok && err == nil {
		err = ender.EndUploads(c.ctx, c.name, func(string) bool { return true })
	}
	return err
}

// conditions detects stores that ignore the condition of a write: a fence would
// not hold on them.
func (c *check) conditions() error {
	name := c.set
	version, err := c.store.WriteIf(c.ctx, name, []byte("check"), "")
	if err != nil {
		return err
	}
	if _, err := c.store.WriteIf(c.ctx, name, []byte("check again"), version); err != nil {
		return err
	}
	for _, prev := range []Version{"", version} {
		_, err := c.store.WriteIf(c.ctx, name, []byte("check"), prev)
		if err == nil {
			return errors.New("the store ignored the condition of a write (If-Match, If-None-Match): two writers could overwrite each other's manifest")
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// replace replaces an object after a fence has ended a sealed replacement of an
// earlier attempt.
func (c *check) replace() error {
	version, err := c.store.Fence(c.ctx, c.set, c.by)
	if err != nil {
		return err
	}
	first, err := c.seal(version)
	if err != nil {
		return err
	}
	if version, err = c.store.Fence(c.ctx, c.set, c.by); err != nil {
		return errors.Join(err, c.drop(first))
	}
	r, err := c.seal(version)
	if err != nil {
		return err
	}
	return errors.Join(r.Switch(c.ctx), c.drop(r))
}

// drop drops a replacement that was not switched. Its error says that the check
// has left something.
func (c *check) drop(r Replacement) error {
	if err := r.Abort(context.WithoutCancel(c.ctx)); err != nil {
		return fmt.Errorf("%w; the check has left an unfinished replacement of %s", err, c.set)
	}
	return nil
}

func (c *check) seal(version Version) (Replacement, error) {
	r, err := c.store.Replace(c.ctx, c.set, version, NewAttempt(1, 1))
	if err != nil {
		return nil, err
	}
	if _, err = r.Write([]byte("check")); err == nil {
		err = r.Seal(c.ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.drop(r))
	}
	return r, nil
}

func (c *check) remove() error {
	err := c.store.Delete(c.ctx, []string{c.name, c.set})
	if err != nil && c.written {
		return fmt.Errorf("%w; the check has left %s and %s", err, c.name, c.set)
	}
	return err
}

// Detail returns the text of an error with its hint, if it has one.
func Detail(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) && e.Hint != "" {
		return err.Error() + "; " + e.Hint
	}
	return err.Error()
}
