package laketest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// ended reports whether err is one of the errors for a replacement that another
// writer has ended.
func ended(err error) bool {
	return errors.Is(err, lake.ErrConflict) || errors.Is(err, lake.ErrAborted)
}

// checkTurns lets two attempts write the same name in turns, chunk by chunk. The
// object must have all bytes of one of them, never a mixture.
func checkTurns(ctx context.Context, s lake.Store, dir string) error {
	for _, size := range []int{1000, 12 << 20} {
		for _, firstEnds := range []bool{true, false} {
			name := fmt.Sprintf("%s2026/06/01/part-%d-%v.json.gz", dir, size, firstEnds)
			if err := turns(ctx, s, name, size, firstEnds); err != nil {
				return fmt.Errorf("%d bytes, the first ends first %v: %w", size, firstEnds, err)
			}
		}
	}
	return nil
}

func turns(ctx context.Context, s lake.Store, name string, size int, firstEnds bool) error {
	type writer struct {
		upload lake.Upload
		data   []byte
	}
	var writers []writer
	for i := range 2 {
		u, err := s.Create(ctx, name, attempt(int64(i+1)))
		if err != nil {
			return err
		}
		writers = append(writers, writer{u, pattern(size-i*size/3, byte(1+i))})
	}
	const steps = 5
	for step := range steps {
		for _, w := range writers {
			if err := write(w.upload, w.data[len(w.data)*step/steps:len(w.data)*(step+1)/steps]); err != nil {
				return err
			}
		}
	}
	if !firstEnds {
		writers[0], writers[1] = writers[1], writers[0]
	}
	var stays []byte
	for i, w := range writers {
		err := w.upload.Finish(ctx)
		switch {
		case err == nil:
			stays = w.data
		case i == 0 || !errors.Is(err, lake.ErrAborted):
			return fmt.Errorf("finish number %d: %w", i+1, err)
		}
		if err := w.upload.Abort(ctx); err != nil {
			return fmt.Errorf("abort number %d: %w", i+1, err)
		}
		if err := expect(ctx, s, name, stays); err != nil {
			return fmt.Errorf("after finish number %d: %w", i+1, err)
		}
	}
	return nil
}

func checkAbort(ctx context.Context, s lake.Store, dir string) error {
	for i, size := range sizes {
		u, err := s.Create(ctx, fmt.Sprintf("%ssome/dropped-%d", dir, i), attempt(1))
		if err != nil {
			return err
		}
		if err := errors.Join(write(u, pattern(size, 1)), u.Abort(ctx), u.Abort(ctx)); err != nil {
			return err
		}
		name := fmt.Sprintf("%sset/dropped-%d.json.gz", dir, i)
		for _, seal := range []bool{false, true} {
			r, err := s.Replace(ctx, name, "", attempt(1))
			if err != nil {
				return err
			}
			err = write(r, pattern(size, 2))
			if seal && err == nil {
				err = r.Seal(ctx)
			}
			if err := errors.Join(err, r.Abort(ctx), r.Abort(ctx)); err != nil {
				return err
			}
		}
		if err := leaves(ctx, s, dir); err != nil {
			return err
		}
		// Dropped uploads do not disturb the next replacement.
		if err := replace(ctx, s, name, "", attempt(2), []byte("next")); err != nil {
			return err
		}
		if err := s.Delete(ctx, []string{name}); err != nil {
			return err
		}
	}
	return nil
}

func checkEnded(ctx context.Context, s lake.Store, dir string) error {
	ender, ok := s.(lake.UploadEnder)
	if !ok {
		return nil
	}
	for i, size := range sizes {
		name := fmt.Sprintf("%spart-%d.json.gz", dir, i)
		u, err := s.Create(ctx, name, attempt(1))
		if err != nil {
			return err
		}
		if err := write(u, pattern(size, 0)); err != nil {
			return err
		}
		if err := ender.EndUploads(ctx, dir, func(n string) bool { return n == name }); err != nil {
			return err
		}
		// A small upload may still be in memory and unknown to the service.
		if err := u.Finish(ctx); err != nil && !errors.Is(err, lake.ErrAborted) || err == nil && size > 10<<20 {
			return fmt.Errorf("%d bytes: finish an ended upload: %w, want ErrAborted", size, err)
		}
		if err := u.Abort(ctx); err != nil {
			return fmt.Errorf("abort an ended upload: %w", err)
		}
	}
	return nil
}

func checkMatching(ctx context.Context, s lake.Store, dir string) error {
	ender, ok := s.(lake.UploadEnder)
	if !ok {
		return nil
	}
	kept, err := s.Create(ctx, dir+"b/kept", attempt(1))
	if err != nil {
		return err
	}
	data := pattern(20<<20, 3)
	if err := write(kept, data); err != nil {
		return err
	}
	if err := ender.EndUploads(ctx, dir+"a/", func(string) bool { return true }); err != nil {
		return err
	}
	if err := ender.EndUploads(ctx, dir, func(name string) bool { return name != dir+"b/kept" }); err != nil {
		return err
	}
	if err := kept.Finish(ctx); err != nil {
		return fmt.Errorf("an upload that did not match: %w", err)
	}
	return expect(ctx, s, dir+"b/kept", data)
}

// replace makes a complete replacement: write, seal, switch.
func replace(ctx context.Context, s lake.Store, name string, prev lake.Version, by lake.Attempt, data []byte) error {
	r, err := sealed(ctx, s, name, prev, by, data)
	if err != nil {
		return err
	}
	return errors.Join(r.Switch(ctx), r.Abort(ctx))
}

func sealed(ctx context.Context, s lake.Store, name string, prev lake.Version, by lake.Attempt, data []byte) (lake.Replacement, error) {
	r, err := s.Replace(ctx, name, prev, by)
	if err != nil {
		return nil, err
	}
	if err = write(r, data); err == nil {
		err = r.Seal(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Abort(ctx))
	}
	return r, nil
}

// checkSwitch creates an object and replaces it by others of several sizes. Before
// each switch readers must see the old state, after it the new one.
func checkSwitch(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "data/set.json.gz"
	var now []byte
	for i, size := range sizes {
		by := attempt(int64(i + 1))
		version, err := s.Fence(ctx, name, by)
		if err != nil {
			return err
		}
		if (version == "") != (i == 0) {
			return fmt.Errorf("switch %d: fence returns version %q", i, version)
		}
		next := pattern(size, byte(i))
		r, err := sealed(ctx, s, name, version, by, next)
		if err != nil {
			return err
		}
		if i > 0 {
			err = expect(ctx, s, name, now)
		} else if _, _, err = s.Read(ctx, name, 1); errors.Is(err, lake.ErrNotFound) {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%d bytes, before the switch: %w", size, err)
		}
		if err := errors.Join(r.Switch(ctx), r.Abort(ctx)); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		now = next
		if err := expect(ctx, s, name, now); err != nil {
			return err
		}
		if err := leaves(ctx, s, dir, name); err != nil {
			return err
		}
	}
	return nil
}

func checkStale(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "data/set.json.gz"
	refused := func(prev lake.Version, why string) error {
		if err := replace(ctx, s, name, prev, attempt(9), []byte("x")); !ended(err) {
			return fmt.Errorf("replace %s: %w, want ErrConflict", why, err)
		}
		return nil
	}
	if err := replace(ctx, s, name, "", attempt(1), []byte("one")); err != nil {
		return err
	}
	if err := refused("", "an object that should not be"); err != nil {
		return err
	}
	_, version, err := s.Read(ctx, name, 1)
	if err != nil {
		return err
	}
	if err := replace(ctx, s, name, version, attempt(2), []byte("two")); err != nil {
		return err
	}
	if err := refused(version, "an older version"); err != nil {
		return err
	}
	if err := expect(ctx, s, name, []byte("two")); err != nil {
		return err
	}
	if _, version, err = s.Read(ctx, name, 1); err != nil {
		return err
	}
	if err := s.Delete(ctx, []string{name}); err != nil {
		return err
	}
	if err := refused(version, "an object that is gone"); err != nil {
		return err
	}
	return leaves(ctx, s, dir)
}

// checkFence fences an object after a replacement of it was sealed, with and
// without an existing state. The replacement must fail to switch and leave no
// object.
func checkFence(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "data/set.json.gz"
	for round, size := range []int{1000, 12 << 20, 1000, 12 << 20} {
		older, newer := attempt(int64(2*round+1)), attempt(int64(2*round+2))
		prev, err := s.Fence(ctx, name, older)
		if err != nil {
			return err
		}
		zombie, err := sealed(ctx, s, name, prev, older, pattern(size, 1))
		if err != nil {
			return err
		}
		version, err := s.Fence(ctx, name, newer)
		if err != nil {
			return err
		}
		if err := zombie.Switch(ctx); !ended(err) {
			return fmt.Errorf("round %d: switch after a fence: %w, want ErrConflict or ErrAborted", round, err)
		}
		if err := zombie.Abort(ctx); err != nil {
			return fmt.Errorf("round %d: abort after a fence: %w", round, err)
		}
		if round < 2 {
			err = leaves(ctx, s, dir)
		} else {
			err = leaves(ctx, s, dir, name)
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round == 0 {
			continue
		}
		data := pattern(size, 2)
		if err := replace(ctx, s, name, version, newer, data); err != nil {
			return fmt.Errorf("round %d: switch with the fence's version: %w", round, err)
		}
		if err := expect(ctx, s, name, data); err != nil {
			return err
		}
		if round == 1 {
			continue
		}
		// A late Abort of the zombie must not remove the new state.
		if err := errors.Join(zombie.Abort(ctx), expect(ctx, s, name, data)); err != nil {
			return err
		}
	}
	return nil
}

// checkReplaceTurns lets an older and a newer attempt replace one object in turns.
// The newer one's fence comes while the older one writes. With the order of calls
// that a lake uses, the newer attempt must win with all of its bytes, and the
// older one must leave no object.
func checkReplaceTurns(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "data/set.json.gz"
	for round, size := range []int{1000, 12 << 20, 1000, 12 << 20} {
		older, newer := attempt(int64(2*round+1)), attempt(int64(2*round+2))
		prev, err := s.Fence(ctx, name, older)
		if err != nil {
			return err
		}
		zombie, err := s.Replace(ctx, name, prev, older)
		if err != nil {
			return err
		}
		old, young := pattern(size, 1), pattern(size-size/3, byte(2+round))
		zombieErr := write(zombie, old[:size/2])
		version, err := s.Fence(ctx, name, newer)
		if err != nil {
			return err
		}
		winner, err := s.Replace(ctx, name, version, newer)
		if err != nil {
			return err
		}
		// Any call of the older attempt may report that the service has ended it.
		step := func(f func() error) {
			if zombieErr == nil {
				zombieErr = f()
			}
		}
		for i := range 4 {
			step(func() error { return write(zombie, old[size/2+size/2*i/4:size/2+size/2*(i+1)/4]) })
			if err := write(winner, young[len(young)*i/4:len(young)*(i+1)/4]); err != nil {
				return err
			}
		}
		step(func() error { return zombie.Seal(ctx) })
		if err := winner.Seal(ctx); err != nil {
			return fmt.Errorf("round %d: the newer one's seal: %w", round, err)
		}
		if err := winner.Switch(ctx); err != nil {
			return fmt.Errorf("round %d: the newer one's switch: %w", round, err)
		}
		step(func() error { return zombie.Switch(ctx) })
		if !ended(zombieErr) {
			return fmt.Errorf("round %d: the older one ended with: %w", round, zombieErr)
		}
		if err := errors.Join(zombie.Abort(ctx), winner.Abort(ctx)); err != nil {
			return err
		}
		if err := expect(ctx, s, name, young); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if err := leaves(ctx, s, dir, name); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round == 1 { // the next two begin without an object
			if err := s.Delete(ctx, []string{name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaves returns an error if the objects below dir are not exactly those named.
func leaves(ctx context.Context, s lake.Store, dir string, want ...string) error {
	var found []string
	err := s.List(ctx, dir, true, func(o lake.Object) error {
		found = append(found, o.Name)
		return nil
	})
	if err == nil && strings.Join(found, " ") != strings.Join(want, " ") {
		err = fmt.Errorf("objects are %v, want %v", found, want)
	}
	return err
}
