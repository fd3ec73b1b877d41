package catalog

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrDamaged says that the file of a catalog is not as it was written.
var ErrDamaged = errors.New("the file is damaged")

// IsDamage reports whether an error says that the file of a catalog is damaged,
// or that it is another file.
func IsDamage(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		primary := e.Code() & 0xff
		return primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, ErrDamaged) || errors.Is(err, errDamaged)
}

// DiskFailed reports whether an error is the disk's: it is full, over a quota,
// or failing.
func DiskFailed(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff // the higher bits name the operation
	return primary == sqlite3.SQLITE_FULL || primary == sqlite3.SQLITE_IOERR || primary == sqlite3.SQLITE_CANTOPEN
}
