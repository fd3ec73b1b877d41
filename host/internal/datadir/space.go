package datadir

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/penstock-io/penstock/host/internal/catalog"
)

// Explain adds to an error of a full disk, which ends a command, how much room the host's own
// disks have, and the next step.
func (d Dir) Explain(err error) error {
	if err == nil || !IsDiskFailure(err) {
		return err
	}
	return fmt.Errorf("%w\n%s. Once there is room, run the command again: durable rows stay, and the rest is read and exported then, once", err, d.room())
}

// ExplainRetried adds to an error of a full disk, after which the host retries, how much room
// the host's own disks have.
func (d Dir) ExplainRetried(err error) error {
	if err == nil || !IsDiskFailure(err) {
		return err
	}
	return fmt.Errorf("%w; %s. The host goes on by itself once there is room", err, d.room())
}

// room returns how much room the host's own disks have, as a clause.
func (d Dir) room() string {
	directories := []string{d.Data}
	if d.Apart() {
		directories = append(directories, d.Blobs)
	}
	var free []string
	for _, dir := range directories {
		if disk, err := DiskOf(dir); err == nil {
			free = append(free, fmt.Sprintf("%s has %d MiB free", dir, disk.Free>>20))
		}
	}
	return strings.Join(free, ", ")
}

// Disk is the room on the disk of a directory, in bytes.
type Disk struct{ Free, Size int64 }

// DiskOf returns the room on the disk of a directory.
func DiskOf(dir string) (Disk, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return Disk{}, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return Disk{Free: int64(fs.Bavail) * int64(fs.Bsize), Size: int64(fs.Blocks) * int64(fs.Bsize)}, nil
}

// Disks returns the disks of the data directory, "data_dir", and of the blobs if they lie
// elsewhere, "blobs". One that cannot be looked at is left out.
func (d Dir) Disks() map[string]Disk {
	directories := map[string]string{"data_dir": d.Data}
	if d.Apart() {
		directories["blobs"] = d.Blobs
	}
	disks := map[string]Disk{}
	for name, dir := range directories {
		if disk, err := DiskOf(dir); err == nil {
			disks[name] = disk
		}
	}
	return disks
}

// Hint returns the next step after an error that does not say it itself; "" if
// there is none.
func Hint(err error) string {
	if catalog.IsDamage(err) {
		return "the catalog is damaged: stop the host, then run 'penstock journal rebuild-catalog', which restores it from the journal and keeps " +
			"the damaged file, or restore the data directory from a backup"
	}
	return ""
}

// IsTransient reports whether a host that serves should go on after err and try
// again: the operating system refused something, such as room on a disk or
// access to a file, which may pass without a change of the configuration. A file
// that is missing does not come back by itself.
func IsTransient(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno != syscall.ENOENT && errno != syscall.ENOTDIR
	}
	return catalog.DiskFailed(err)
}

// IsDiskFailure reports whether err is of a disk that is full, or that fails.
func IsDiskFailure(err error) bool {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return true
		}
	}
	return catalog.DiskFailed(err)
}
