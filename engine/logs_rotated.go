package engine

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// rotatedFile reads a log file together with the files that its head was moved to
// (PATH.1 is the newest of them), as one file that only grows: an offset means the same
// bytes however often the engine rotates the file while it is read.
//
// The engine takes the head off a file that is written to, so that what was at an
// offset is then at a lower one. It holds an exclusive flock(2) of the file while it
// does so, and readers a shared one while they look and read.
type rotatedFile struct {
	live *os.File
	path string
	keep int // how many files beside it count; 0: none, and no lock is needed
	// parts are what was before the live file, the oldest first. The last one is kept
	// open, so that its inode is no other file's: it tells whether PATH.1 is a new one.
	parts []part
	base  int64 // the offset at which the live file begins
	// lost is where what follows a gap begins, if there may be one; else -1.
	lost int64
}

// part is a file that is not written to any more.
type part struct {
	f        *os.File
	info     os.FileInfo
	at, size int64
}

var errNotRegular = errors.New("it is no regular file")

// openRegular opens a file to be read.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	// A pipe in the place of the file would block; opened this way it does not.
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func openRotated(path string, keep int) (*rotatedFile, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	return &rotatedFile{live: f, path: path, keep: keep, lost: -1}, nil
}

// Stat is of the live file alone.
func (r *rotatedFile) Stat() (os.FileInfo, error) { return r.live.Stat() }

func (r *rotatedFile) Name() string { return r.path }

// look returns the offset of the end, and of the live file what Stat says.
func (r *rotatedFile) look() (size int64, info os.FileInfo, err error) {
	err = r.still(func() error {
		info, err = r.live.Stat()
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return r.base + info.Size(), info, nil
}

func (r *rotatedFile) Close() {
	r.live.Close()
	for _, o := range r.parts {
		o.f.Close()
	}
}

// ReadAt is io.ReaderAt's.
func (r *rotatedFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		got := 0
		if off < r.base {
			got, err = r.readPart(p[n:], off)
		} else {
			err = r.still(func() error {
				if off < r.base {
					return nil // in a part by now
				}
				got, err = r.live.ReadAt(p[n:], off-r.base)
				return err
			})
		}
		n, off = n+got, off+int64(got)
	}
	return n, err
}

func (r *rotatedFile) readPart(p []byte, off int64) (int, error) {
	i := slices.IndexFunc(r.parts, func(o part) bool { return off < o.at+o.size })
	if i < 0 || off < r.parts[i].at {
		return 0, io.ErrUnexpectedEOF // released
	}
	o := r.parts[i]
	n, err := o.f.ReadAt(p[:min(int64(len(p)), o.at+o.size-off)], off-o.at)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // someone has cut it off
	}
	return n, err
}

// release closes what is before an offset.
func (r *rotatedFile) release(before int64) {
	for len(r.parts) > 1 && r.parts[0].at+r.parts[0].size <= before {
		r.parts[0].f.Close()
		r.parts = r.parts[1:]
	}
}

// restart returns where reading goes on when what was read before is not there any
// more: the file was emptied, or more was rotated meanwhile than is kept.
func (r *rotatedFile) restart() int64 {
	if r.lost >= 0 {
		return r.lost
	}
	return r.base
}

// still calls read while nobody rotates the file, knowing what was rotated before.
func (r *rotatedFile) still(read func() error) error {
	if r.keep > 0 {
		// Where files cannot be locked nobody rotates them this way.
		if lockFile(r.live, syscall.LOCK_SH) == nil {
			defer func() { _ = lockFile(r.live, syscall.LOCK_UN) }()
		}
		r.takeUp()
	}
	return read()
}

func lockFile(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// takeUp adds the parts that came between the live file and those that are known.
func (r *rotatedFile) takeUp() {
	newest := func(info os.FileInfo) bool {
		return len(r.parts) > 0 && os.SameFile(info, r.parts[len(r.parts)-1].info)
	}
	if info, err := os.Stat(r.path + ".1"); err != nil || newest(info) {
		return
	}
	live, err := r.live.Stat()
	if err != nil {
		return
	}
	var found []part // the newest first
	r.lost = r.base
	for k := 1; k <= r.keep; k++ {
		f, info, err := openRegular(r.path + "." + strconv.Itoa(k))
		if err != nil {
			break
		}
		if newest(info) || os.SameFile(info, live) {
			f.Close()
			r.lost = -1
			if !newest(info) {
				// This file was renamed: what is newer is of the one in its place.
				for _, o := range found {
					o.f.Close()
				}
				return
			}
			break
		}
		found = append(found, part{f: f, info: info, size: info.Size()})
	}
	for _, o := range slices.Backward(found) {
		o.at = r.base
		r.parts = append(r.parts, o)
		r.base += o.size
	}
}
