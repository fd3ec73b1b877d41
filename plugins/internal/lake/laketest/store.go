package laketest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// Check is one property of a Store. Run returns an error if the store does not
// have it. dir is a directory that only this check uses; it ends with a slash.
type Check struct {
	Name string
	Run  func(ctx context.Context, s lake.Store, dir string) error
}

// Checks returns the checks of the contract of Store and of a lake over a store.
// Each store runs all of them over the process that stands in for its service.
func Checks() []Check {
	return append([]Check{
		{"objects appear whole", checkWhole},
		{"objects are replaced", checkReplaced},
		{"conditional writes", checkConditional},
		{"two attempts write one object in turns", checkTurns},
		{"an unfinished upload leaves nothing", checkAbort},
		{"ended uploads cannot be finished", checkEnded},
		{"only matching uploads are ended", checkMatching},
		{"a replacement is switched", checkSwitch},
		{"a replacement of another version is refused", checkStale},
		{"a fence ends what was sealed before it", checkFence},
		{"two attempts replace one object in turns", checkReplaceTurns},
		{"lists", checkList},
		{"deletes", checkDelete},
		{"reads a part", checkRead},
		{"reads ranges of one version", checkReadRange},
		{"states of objects", checkStat},
	}, append(lakeChecks(), repairChecks()...)...)
}

// sizes of uploads in bytes: empty, small, and more than two parts of S3.
var sizes = []int{0, 1, 100_000, 20 << 20}

func checkWhole(ctx context.Context, s lake.Store, dir string) error {
	for i, size := range sizes {
		name := fmt.Sprintf("%s2026/06/0%d/object.json.gz", dir, i+1)
		data := pattern(size, byte(i))
		u, err := s.Create(ctx, name, attempt(1))
		if err != nil {
			return err
		}
		if err := write(u, data); err != nil {
			return err
		}
		if _, _, err := s.Read(ctx, name, 1); !errors.Is(err, lake.ErrNotFound) {
			return fmt.Errorf("%d bytes: seen before it was finished: %w", size, err)
		}
		if err := u.Finish(ctx); err != nil {
			return err
		}
		if err := u.Abort(ctx); err != nil {
			return fmt.Errorf("abort after finish: %w", err)
		}
		if err := expect(ctx, s, name, data); err != nil {
			return err
		}
	}
	return nil
}

func checkReplaced(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "object"
	for _, text := range []string{"first", "second, longer", ""} {
		if err := put(ctx, s, name, text); err != nil {
			return err
		}
		if err := expect(ctx, s, name, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

func checkConditional(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "_penstock/manifest.json"
	conflict := func(prev lake.Version) error {
		if _, err := s.WriteIf(ctx, name, []byte("x"), prev); !errors.Is(err, lake.ErrConflict) {
			return fmt.Errorf("write over version %q: %w, want a conflict", prev, err)
		}
		return nil
	}
	first, err := s.WriteIf(ctx, name, []byte("one"), "")
	if err != nil {
		return err
	}
	if err := conflict(""); err != nil {
		return err
	}
	second, err := s.WriteIf(ctx, name, []byte("two"), first)
	if err != nil {
		return err
	}
	if err := conflict(first); err != nil {
		return err
	}
	data, read, err := s.Read(ctx, name, 100)
	if err != nil || string(data) != "two" || read != second {
		return fmt.Errorf("read %q at %q, %w; want two at %q", data, read, err, second)
	}
	if err := s.Delete(ctx, []string{name}); err != nil {
		return err
	}
	return conflict(second)
}

func checkList(ctx context.Context, s lake.Store, dir string) error {
	for _, name := range []string{"b", "a", "c/d", "c/e/f", "cc"} {
		if err := put(ctx, s, dir+name, name); err != nil {
			return err
		}
	}
	u, err := s.Create(ctx, dir+"a2", attempt(1))
	if err != nil {
		return err
	}
	defer func() { _ = u.Abort(ctx) }()
	for _, c := range []struct {
		prefix string
		deep   bool
		want   string
	}{
		{"", true, "a b c/d c/e/f cc"},
		{"", false, "a b cc"},
		{"c", true, "c/d c/e/f cc"},
		{"c/", false, "c/d"},
		{"none/", true, ""},
	} {
		var got []string
		err := s.List(ctx, dir+c.prefix, c.deep, func(o lake.Object) error {
			name := strings.TrimPrefix(o.Name, dir)
			if int(o.Size) != len(name) {
				return fmt.Errorf("%s: size is %d", name, o.Size)
			}
			got = append(got, name)
			return nil
		})
		if err != nil {
			return err
		}
		if strings.Join(got, " ") != c.want {
			return fmt.Errorf("list %q, deep %v: %v, want %s", c.prefix, c.deep, got, c.want)
		}
	}
	return nil
}

func checkDelete(ctx context.Context, s lake.Store, dir string) error {
	var names []string
	for i := range 3 {
		names = append(names, fmt.Sprintf("%sd/%d", dir, i))
		if err := put(ctx, s, names[i], "x"); err != nil {
			return err
		}
	}
	for range 2 { // deleting a missing object is not an error
		if err := s.Delete(ctx, names[:2]); err != nil {
			return err
		}
	}
	if _, _, err := s.Read(ctx, names[0], 1); !errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("a deleted object is read: %w", err)
	}
	return expect(ctx, s, names[2], []byte("x"))
}

func checkRead(ctx context.Context, s lake.Store, dir string) error {
	if err := put(ctx, s, dir+"r", "0123456789"); err != nil {
		return err
	}
	for _, limit := range []int64{1, 10, 1000, 1 << 20} {
		data, _, err := s.Read(ctx, dir+"r", limit)
		if err != nil || string(data) != "0123456789"[:min(limit, 10)] {
			return fmt.Errorf("read %d: %q, %w", limit, data, err)
		}
	}
	return nil
}

func checkReadRange(ctx context.Context, s lake.Store, dir string) error {
	name := dir + "2026/06/01/object.json.gz"
	if err := put(ctx, s, name, "0123456789"); err != nil {
		return err
	}
	info, err := s.Stat(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		offset, n int64
		want      string
	}{{0, 10, "0123456789"}, {0, 3, "012"}, {7, 3, "789"}, {8, 100, "89"}, {10, 5, ""}, {20, 5, ""}} {
		data, err := s.ReadRange(ctx, name, info.Version, c.offset, c.n)
		if err != nil || string(data) != c.want {
			return fmt.Errorf("read %d bytes from %d: %q, %w; want %q", c.n, c.offset, data, err, c.want)
		}
	}
	if err := put(ctx, s, name, "9876543210"); err != nil {
		return err
	}
	if data, err := s.ReadRange(ctx, name, info.Version, 0, 5); !errors.Is(err, lake.ErrConflict) {
		return fmt.Errorf("read a version that was replaced: %q, %w; want a conflict", data, err)
	}
	if err := s.Delete(ctx, []string{name}); err != nil {
		return err
	}
	if _, err := s.ReadRange(ctx, name, info.Version, 0, 5); !errors.Is(err, lake.ErrConflict) && !errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("read a deleted object: %w", err)
	}
	return nil
}

// checkStat compares sizes, versions and those checksums that the service keeps.
func checkStat(ctx context.Context, s lake.Store, dir string) error {
	if _, err := s.Stat(ctx, dir+"none"); !errors.Is(err, lake.ErrNotFound) {
		return fmt.Errorf("state of an object that does not exist: %w", err)
	}
	for i, size := range sizes {
		name := fmt.Sprintf("%s2026/06/0%d/object.json.gz", dir, i+1)
		data := pattern(size, byte(i))
		u, err := s.Create(ctx, name, attempt(1))
		if err != nil {
			return err
		}
		if err := errors.Join(write(u, data), u.Finish(ctx)); err != nil {
			return err
		}
		info, err := s.Stat(ctx, name)
		if err != nil {
			return err
		}
		_, version, err := s.Read(ctx, name, 1)
		if err != nil {
			return err
		}
		if info.Size != int64(size) || info.Version != version {
			return fmt.Errorf("%s: %d bytes at version %s, want %d at %s", name, info.Size, info.Version, size, version)
		}
		if sum := crc32.ChecksumIEEE(data); info.Sums.CRC32 != nil && *info.Sums.CRC32 != sum {
			return fmt.Errorf("%s: CRC-32 is %08x, want %08x", name, *info.Sums.CRC32, sum)
		}
		if sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)); info.Sums.CRC32C != nil && *info.Sums.CRC32C != sum {
			return fmt.Errorf("%s: CRC-32C is %08x, want %08x", name, *info.Sums.CRC32C, sum)
		}
	}
	return nil
}

func put(ctx context.Context, s lake.Store, name, text string) error {
	return Put(ctx, s, name, []byte(text))
}

// Put writes an object as a lake does, and aborts the upload after an error.
func Put(ctx context.Context, s lake.Store, name string, data []byte) error {
	u, err := s.Create(ctx, name, attempt(1))
	if err != nil {
		return err
	}
	if err = write(u, data); err == nil {
		err = u.Finish(ctx)
	}
	return errors.Join(err, u.Abort(ctx))
}

// Steps returns data of a size that changes slowly and is cheap to compare.
func Steps(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i / 1000 * 7)
	}
	return data
}

// attempt returns a new attempt with the given fence.
func attempt(fence int64) lake.Attempt { return lake.NewAttempt(7, fence) }

// write writes data in pieces whose size divides no part size.
func write(w io.Writer, data []byte) error {
	for chunk := range slices.Chunk(data, 150_001) {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

func expect(ctx context.Context, s lake.Store, name string, want []byte) error {
	got, _, err := s.Read(ctx, name, 1<<30)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s holds %d bytes that are not the %d written", name, len(got), len(want))
	}
	return nil
}

func pattern(size int, seed byte) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i>>8) ^ byte(i*7) ^ seed
	}
	return data
}
