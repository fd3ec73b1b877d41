package files

import "syscall"

// changeTime returns when an inode was changed last, in unix nanoseconds.
func changeTime(s *syscall.Stat_t) int64 { return s.Ctim.Nano() }
