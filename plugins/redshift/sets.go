package redshift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// keepsSets is how long a set that was replaced stays, for queries that have begun
// to read it.
const keepsSets = time.Hour

// sets is a bucket in which the table of a stream decides which object is the
// replaced set. It implements lake.Store over that bucket: the object of a name lies
// in a directory of the attempt that wrote it, and the switch is an update of the
// table's location.
//
//	name of the lake   7/mp_people_data/p-id.parquet
//	object             7/mp_people_data/<run>-<fence>-<nonce>/p-id.parquet
//	table's location   s3://lake/7/mp_people_data/<run>-<fence>-<nonce>/
//
// So a reader of the table sees the old set or the new one: files of other attempts
// lie outside of its location. The version of a name is the attempt in the table's
// parameters that has fenced or switched it last, and each write of the table is
// conditional on Glue's version of it:
//
//	older:  Fence, with its attempt ─► … ─► Switch: the table has another attempt, ErrConflict
//	newer:                  Fence, with its attempt ─► … ─► Switch
//
// A change that a user makes to the table in between is kept. All other names are
// those of the bucket. It is safe for concurrent use.
type sets struct {
	lake.Store
	catalog *catalog
	// streams are the sets by the directory of their names, with a slash at its end.
	streams map[string]sdk.Stream
	now     func() time.Time
	log     hclog.Logger
}

// setsOf returns the directories of a project's sets.
func setsOf(root string, projectID int64) (map[string]sdk.Stream, error) {
	found := make(map[string]sdk.Stream)
	for _, stream := range []sdk.Stream{sdk.People, sdk.Identity} {
		dir, err := lake.StreamDir(root, projectID, stream)
		if err != nil {
			return nil, sdk.Permanent(err)
		}
		found[dir] = stream
	}
	return found, nil
}

// split returns the directory and the stream of a set's name; false: the name is
// one of the bucket.
func (s *sets) split(name string) (dir, base string, stream sdk.Stream, ok bool) {
	dir, base = path.Split(name)
	stream, ok = s.streams[dir]
	return dir, base, stream, ok
}

// setVersion is the state of a set's name: the attempt that the table has, the
// directory that it shows, and the version of the object there.
type setVersion struct {
	holder, dir string
	object      lake.Version
}

func (v setVersion) encode() lake.Version {
	return lake.Version(v.holder + "\n" + v.dir + "\n" + string(v.object))
}

func decodeVersion(text lake.Version) setVersion {
	holder, rest, _ := strings.Cut(string(text), "\n")
	dir, object, _ := strings.Cut(rest, "\n")
	return setVersion{holder, dir, lake.Version(object)}
}

// Fence implements lake.Store. It creates the database and the table if they do not
// exist, and enters the attempt in the table: an older attempt can no longer switch
// it. Sets of older attempts that were never shown, and those that no reader needs,
// are removed.
func (s *sets) Fence(ctx context.Context, name string, by lake.Attempt) (lake.Version, error) {
	dir, base, stream, ok := s.split(name)
	if !ok {
		return s.Store.Fence(ctx, name, by)
	}
	if err := s.catalog.hasDatabase(ctx); err != nil {
		return "", err
	}
	var expired []string
	now, err := s.catalog.changeSet(ctx, stream, dir, func(now setState) (*setState, error) {
		if now.holder == by.String() {
			return nil, nil
		}
		expired = now.expired(s.now())
		next := now.fenced(by, s.now())
		return &next, nil
	})
	if err != nil {
		return "", err
	}
	s.sweep(ctx, dir, base, now, expired, by)
	if now.dir == "" {
		return "", nil
	}
	info, err := s.Store.Stat(ctx, now.dir+base)
	if errors.Is(err, lake.ErrNotFound) {
		return "", nil
	}
	return setVersion{now.holder, now.dir, info.Version}.encode(), err
}

// sweep removes the expired sets, and the files that older attempts at the same name
// have written and never shown: the table that the caller has fenced refuses them.
// A newer attempt's files stay, which a fence that comes late must not remove. A
// failure is logged; the next fence of the name sweeps again.
func (s *sets) sweep(ctx context.Context, dir, base string, now setState, expired []string, by lake.Attempt) {
	isOlder := func(name string) bool {
		at, file := path.Split(name)
		fence, ok := fenceIn(strings.TrimSuffix(strings.TrimPrefix(at, dir), "/"))
		return ok && file == base && fence < by.Fence && !now.keeps(at)
	}
	var stale []string
	err := s.Store.List(ctx, dir, true, func(o lake.Object) error {
		at, _ := path.Split(o.Name)
		if slices.Contains(expired, at) && !now.keeps(at) || isOlder(o.Name) {
			stale = append(stale, o.Name)
		}
		return nil
	})
	if err == nil && len(stale) > 0 {
		err = s.Store.Delete(ctx, stale)
	}
	if ender, ok := s.Store.(lake.UploadEnder); ok && err == nil {
		err = ender.EndUploads(ctx, dir, isOlder)
	}
	if err != nil {
		s.log.Warn("could not remove former sets; the next run will retry", "directory", dir, "files", len(stale), "error", err)
	}
}

// EndUploads implements lake.UploadEnder, if the bucket does.
func (s *sets) EndUploads(ctx context.Context, prefix string, match func(name string) bool) error {
	if ender, ok := s.Store.(lake.UploadEnder); ok {
		return ender.EndUploads(ctx, prefix, match)
	}
	return nil
}

// current returns the directory that a set's table shows, or ErrNotFound.
func (s *sets) current(ctx context.Context, name, dir string, stream sdk.Stream) (setState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now, err := s.catalog.readSet(ctx, stream, dir)
	if err == nil && now.dir == "" {
		err = fmt.Errorf("%w: %s: the table shows no set", lake.ErrNotFound, name)
	}
	return now, err
}

// Read implements lake.Store.
func (s *sets) Read(ctx context.Context, name string, limit int64) ([]byte, lake.Version, error) {
	dir, base, stream, ok := s.split(name)
	if !ok {
		return s.Store.Read(ctx, name, limit)
	}
	now, err := s.current(ctx, name, dir, stream)
	if err != nil {
		return nil, "", err
	}
	data, v, err := s.Store.Read(ctx, now.dir+base, limit)
	return data, setVersion{now.holder, now.dir, v}.encode(), err
}

// Stat implements lake.Store.
func (s *sets) Stat(ctx context.Context, name string) (lake.Info, error) {
	dir, base, stream, ok := s.split(name)
	if !ok {
		return s.Store.Stat(ctx, name)
	}
	now, err := s.current(ctx, name, dir, stream)
	if err != nil {
		return lake.Info{}, err
	}
	info, err := s.Store.Stat(ctx, now.dir+base)
	info.Version = setVersion{now.holder, now.dir, info.Version}.encode()
	return info, err
}

// ReadRange implements lake.Store. The object of a version is read also after the
// table was switched to another set.
func (s *sets) ReadRange(ctx context.Context, name string, at lake.Version, offset, n int64) ([]byte, error) {
	_, base, _, ok := s.split(name)
	if !ok {
		return s.Store.ReadRange(ctx, name, at, offset, n)
	}
	v := decodeVersion(at)
	data, err := s.Store.ReadRange(ctx, v.dir+base, v.object, offset, n)
	if errors.Is(err, lake.ErrNotFound) {
		err = fmt.Errorf("%w: %w", lake.ErrConflict, err)
	}
	return data, err
}

// List implements lake.Store. It lists of each set the object that the table shows,
// by its name, and no others.
func (s *sets) List(ctx context.Context, prefix string, deep bool, yield func(lake.Object) error) error {
	shown := make(map[string]string) // directory of the set that is shown → directory of its name
	listed := false                  // whether the list has names of sets
	for dir, stream := range s.streams {
		if !strings.HasPrefix(prefix, dir) && (!deep || !strings.HasPrefix(dir, prefix)) {
			continue
		}
		listed = true
		now, err := s.current(ctx, dir, dir, stream)
		if err != nil && !errors.Is(err, lake.ErrNotFound) {
			return err
		}
		if err == nil {
			shown[now.dir] = dir
		}
	}
	if !listed {
		return s.Store.List(ctx, prefix, deep, yield)
	}
	var found []lake.Object
	err := s.Store.List(ctx, s.longer(prefix), true, func(o lake.Object) error {
		if o.Name = s.nameOf(o.Name, shown); strings.HasPrefix(o.Name, prefix) && (deep || !strings.Contains(o.Name[len(prefix):], "/")) {
			found = append(found, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b lake.Object) int { return cmp.Compare(a.Name, b.Name) })
	for _, o := range found {
		if err := yield(o); err != nil {
			return err
		}
	}
	return nil
}

// longer returns the prefix of the objects whose names start with prefix: that of
// the set's directory if prefix goes on behind it.
func (s *sets) longer(prefix string) string {
	for dir := range s.streams {
		if strings.HasPrefix(prefix, dir) {
			return dir
		}
	}
	return prefix
}

// nameOf returns the name of an object; empty: it is one of a set that is not shown.
func (s *sets) nameOf(object string, shown map[string]string) string {
	at, base := path.Split(object)
	if dir, ok := shown[at]; ok {
		return dir + base
	}
	for dir := range s.streams {
		if inside, ok := strings.CutPrefix(at, dir); ok && inside != "" {
			return ""
		}
	}
	return object
}

// Delete implements lake.Store. A set's table shows none before its object is
// deleted.
func (s *sets) Delete(ctx context.Context, names []string) error {
	var objects []string
	for _, name := range names {
		dir, base, stream, ok := s.split(name)
		if !ok {
			objects = append(objects, name)
			continue
		}
		object, err := s.hide(ctx, dir, base, stream)
		if err != nil {
			return err
		}
		objects = append(objects, object...)
	}
	if len(objects) == 0 {
		return nil
	}
	return s.Store.Delete(ctx, objects)
}

// hide makes a set's table show none if it shows the object of a name, and returns
// that object.
func (s *sets) hide(ctx context.Context, dir, base string, stream sdk.Stream) (object []string, err error) {
	_, err = s.catalog.changeSet(ctx, stream, dir, func(now setState) (*setState, error) {
		if object = nil; now.dir == "" {
			return nil, nil
		}
		_, err := s.Store.Stat(ctx, now.dir+base)
		if errors.Is(err, lake.ErrNotFound) {
			return nil, nil
		}
		object = []string{now.dir + base}
		next := now.emptied()
		return &next, err
	})
	return object, err
}

// Replace implements lake.Store. The object is written under the attempt's own name;
// Switch makes the table show it. A table that no attempt has fenced yet gets this
// one.
func (s *sets) Replace(ctx context.Context, name string, prev lake.Version, by lake.Attempt) (lake.Replacement, error) {
	dir, base, stream, ok := s.split(name)
	if !ok {
		return s.Store.Replace(ctx, name, prev, by)
	}
	r := &setReplacement{sets: s, stream: stream, dir: dir, by: by, holder: by.String(), object: dir + by.String() + "/" + base}
	var err error
	if prev != "" {
		r.holder = decodeVersion(prev).holder
	} else {
		_, err = s.catalog.changeSet(ctx, stream, dir, func(now setState) (*setState, error) {
			if now.holder != "" {
				return nil, nil
			}
			next := now.fenced(by, s.now())
			return &next, nil
		})
	}
	if err == nil {
		r.upload, err = s.Store.Create(ctx, r.object, by)
	}
	return r, err
}

// setReplacement is the next state of a set. It is for one goroutine.
type setReplacement struct {
	sets   *sets
	stream sdk.Stream
	dir    string // of the set's name
	by     lake.Attempt
	holder string // that the table must have
	object string
	upload lake.Upload

	sealed bool
	asked  bool // the table may show the object
}

// Write implements lake.Replacement.
func (r *setReplacement) Write(p []byte) (int, error) { return r.upload.Write(p) }

// Seal implements lake.Replacement. No table shows the object yet.
func (r *setReplacement) Seal(ctx context.Context) error {
	if r.sealed {
		return nil
	}
	err := r.upload.Finish(ctx)
	r.sealed = err == nil
	return err
}

// Switch implements lake.Replacement. It succeeds if the table shows the object
// already: an earlier call may have lost its answer.
func (r *setReplacement) Switch(ctx context.Context) error {
	at, _ := path.Split(r.object)
	_, err := r.sets.catalog.changeSet(ctx, r.stream, r.dir, func(now setState) (*setState, error) {
		switch {
		case now.holder == r.by.String() && now.dir == at:
			return nil, nil
		case now.holder != r.holder:
			return nil, fmt.Errorf("%w: the table was fenced or switched by attempt %q", lake.ErrConflict, now.holder)
		}
		if _, err := r.sets.Store.Stat(ctx, r.object); errors.Is(err, lake.ErrNotFound) {
			return nil, fmt.Errorf("%w: %s is gone", lake.ErrAborted, r.object)
		} else if err != nil {
			return nil, err
		}
		next := now.switched(r.by, at, r.sets.now().Add(keepsSets))
		r.asked = true
		return &next, nil
	})
	return err
}

// Abort implements lake.Replacement. An object that the table may show stays, and
// one that it does not show is removed by a later fence.
func (r *setReplacement) Abort(ctx context.Context) error {
	switch {
	case !r.sealed:
		return r.upload.Abort(ctx)
	case r.asked:
		return nil
	}
	r.sealed = false
	return r.sets.Store.Delete(ctx, []string{r.object})
}
