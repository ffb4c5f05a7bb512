package watch

import (
	"io/fs"
	"syscall"
	"time"
)

// changedAt is when a file came to be as and where it is; unlike the time of its last
// write it is not kept by cp -p and tar.
func changedAt(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return info.ModTime()
}
