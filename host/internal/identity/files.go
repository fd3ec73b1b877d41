package identity

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// private is a file system whose files are for their user alone.
type private struct{ vfs.FS }

const privateMode = 0o600

func (p private) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, category)
	return madePrivate(f, err, name)
}

func (p private) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, category, opts...)
	return madePrivate(f, err, name)
}

func (p private) Lock(name string) (io.Closer, error) {
	f, err := p.FS.Lock(name)
	return madePrivate(f, err, name)
}

// madePrivate makes a file that was opened private, or closes it.
func madePrivate[F io.Closer](f F, err error, name string) (F, error) {
	if err == nil {
		if err = os.Chmod(name, privateMode); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return f, err
}
