package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rotator keeps the log files of units that declare a size from growing above it, while
// such units run. Other units cost it nothing.
type rotator struct {
	home Home
	wake chan struct{}
	end  chan struct{}
	work sync.WaitGroup
	// How long after a look at a file the next one is, by how fast it grows.
	often, seldom time.Duration

	mu      sync.Mutex
	running bool
	files   map[string]*rotating // by path
	units   map[string][]string  // their files
}

// rotating is one file, of one or more units.
type rotating struct {
	logFile
	units []string

	// What follows is of the rotator's goroutine alone.
	told bool // manager.log says that it cannot be rotated
	size int64
	at   time.Time // when it had that size
	next time.Time // when it is looked at again
}

func newRotator(h Home) *rotator {
	return &rotator{
		home: h, wake: make(chan struct{}, 1), end: make(chan struct{}),
		often: 200 * time.Millisecond, seldom: 2 * time.Second,
		files: map[string]*rotating{}, units: map[string][]string{},
	}
}

// wants reports whether a unit's files are to be rotated.
func (r *rotator) wants(e *execDef) bool { return e.maxLog > 0 }

// add is called before each start of a unit's main process, and for one that runs
// already.
func (r *rotator) add(unit string, d *definition) {
	var paths []string
	both, _ := r.home.sinks(d) // outputs tells what is wrong
	for _, s := range both {
		// Who does not append would leave a hole where the head was.
		if s.flag == syscall.O_APPEND && !slices.Contains(paths, s.path) {
			paths = append(paths, s.path)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(unit, paths)
	if len(paths) == 0 {
		return
	}
	r.units[unit] = paths
	e, more := &d.service.exec, false
	for _, path := range paths {
		f := r.files[path]
		if f == nil {
			f, more = &rotating{}, true
			r.files[path] = f
		}
		f.logFile = logFile{path: path, most: e.maxLog, keep: max(e.keepLogs, 1)}
		f.units = append(f.units, unit)
		if len(f.units) == 1 {
			if err := f.replace(); err != nil {
				r.home.say(unit, err.Error())
			}
		}
	}
	if !r.running {
		r.running = true
		r.work.Go(r.run)
	}
	if more {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// remove is called when a unit is down. One that was not added is no harm.
func (r *rotator) remove(unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(unit, nil)
}

// forget takes a unit from its files, and those that nobody writes to from the rotator,
// but for those to keep.
func (r *rotator) forget(unit string, keep []string) {
	for _, path := range r.units[unit] {
		f := r.files[path]
		f.units = slices.DeleteFunc(f.units, func(u string) bool { return u == unit })
		if len(f.units) == 0 && !slices.Contains(keep, path) {
			delete(r.files, path)
		}
	}
	delete(r.units, unit)
}

// close waits for the end of a rotation that is under way.
func (r *rotator) close() {
	close(r.end)
	r.work.Wait()
}

// run looks at the files until there are none.
func (r *rotator) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.end:
			return
		}
		next, any := r.look(time.Now())
		if !any {
			return
		}
		timer.Reset(time.Until(next))
	}
}

// look rotates what has grown too large. It returns when to look again, and whether
// there is anything to look at.
func (r *rotator) look(now time.Time) (next time.Time, any bool) {
	type due struct {
		f    *rotating
		log  logFile
		unit string
	}
	var list []due
	r.mu.Lock()
	for _, f := range r.files {
		if !f.next.After(now) {
			list = append(list, due{f, f.logFile, f.units[0]})
		}
	}
	if len(r.files) == 0 {
		r.running = false
		r.mu.Unlock()
		return now, false
	}
	r.mu.Unlock()
	for _, d := range list {
		f := d.f
		err := r.check(f, d.log)
		switch {
		case err == nil:
		case f.told:
		case errors.Is(err, errFixed):
			f.told = true
			r.home.say(d.unit, fmt.Sprintf("%s is larger than LogMaxSize=, and its file system cannot cut off the head of a file"+
				" that is written to (ext4 and xfs can): it is rotated when its app is started next", d.log.path))
		default:
			f.told = true
			r.home.say(d.unit, fmt.Sprintf("cannot rotate %s: %v; it is tried again", d.log.path, err))
		}
	}
	next = now.Add(time.Hour)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.next.Before(next) {
			next = f.next
		}
	}
	return next, true
}

// check looks at a file and rotates it when it is too large.
func (r *rotator) check(f *rotating, l logFile) error {
	info, err := os.Lstat(l.path)
	now := time.Now()
	if f.at.IsZero() {
		err = errors.Join(err, l.settle())
	}
	f.next = now.Add(r.seldom)
	if err != nil || !info.Mode().IsRegular() {
		if err != nil && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		f.size, f.at = 0, now
		return err
	}
	size := info.Size()
	if size >= l.most {
		cut, err := l.rotate()
		if errors.Is(err, errFixed) {
			f.next = now.Add(time.Hour) // add does what can be done
		}
		if err != nil {
			f.size, f.at = size, now
			return err
		}
		size -= cut
		f.told = false
	}
	// At the rate since the last look it is full then.
	if grown := size - f.size; grown > 0 && !f.at.IsZero() {
		left := time.Duration(float64(max(0, l.most-size)) / float64(grown) * float64(now.Sub(f.at)))
		f.next = time.Now().Add(min(max(left, r.often), r.seldom))
	}
	f.size, f.at = size, now
	return nil
}
