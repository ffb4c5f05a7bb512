package engine

import (
	"context"
	"path/filepath"
	"time"
)

// How often files are looked at when nothing tells of a change: beside a watch,
// which sees nothing of what others write over a network and of directories that
// are not there yet, and without one.
const (
	lookBeside  = time.Second
	lookWithout = 200 * time.Millisecond
	// lookPause is between two looks, so that a busy file does not take a CPU.
	lookPause = 10 * time.Millisecond
)

// followFiles tells the lines that are added to files until ctx ends.
func followFiles(ctx context.Context, files []*logFile, tell func(LogLine, error) bool) {
	every := lookBeside
	watch, err := watchDirs()
	if err != nil { // no more of them, or another system
		watch, every = nil, lookWithout
	} else {
		defer watch.close()
	}
	var changed <-chan struct{}
	if watch != nil {
		changed = watch.changed
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	pause := time.NewTimer(lookPause)
	defer pause.Stop()
	for look := true; ; {
		for _, f := range files {
			if watch != nil && look {
				// Again and again: a directory may come, or be made anew.
				watch.add(filepath.Dir(f.source.File))
				if target, err := filepath.EvalSymlinks(f.source.File); err == nil && target != f.source.File {
					watch.add(filepath.Dir(target))
				}
			}
			if !f.poll(tell) {
				return
			}
		}
		look = false
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
			look = true
		}
		pause.Reset(lookPause)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}
