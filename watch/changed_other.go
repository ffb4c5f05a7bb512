//go:build !linux

package watch

import (
	"io/fs"
	"time"
)

// changedAt is when a file was written.
func changedAt(info fs.FileInfo) time.Time { return info.ModTime() }
