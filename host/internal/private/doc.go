// Package private opens files and directories that only this user may touch.
//
// A data directory that other users may write is refused, because they could
// exchange its files. A file is opened only if it is a regular file that belongs
// to this user: a symbolic link would have the host write another file.
package private
