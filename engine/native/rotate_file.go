package native

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// logFile is a file that is rotated when it has a size: what was in it is then in
// PATH.1, what was in that in PATH.2, and so on.
//
// Processes write their logs themselves, so that a file cannot be changed for another
// under them. Its head is copied to PATH.1 and cut off by fallocate(2),
// FALLOC_FL_COLLAPSE_RANGE: who appends goes on at the end, wherever that is, and a
// write is before or after the cut as a whole. PATH.rotating is the copy while that is
// going on. Readers are kept out meanwhile by an flock(2) of the file, see package
// engine.
type logFile struct {
	path string
	most int64
	keep int
}

// errFixed is the error of a file whose head cannot be cut off.
var errFixed = errors.New("the head of the file cannot be cut off")

// errLinks: root must not cut what someone linked to in the place of a log file.
var errLinks = errors.New("it has several names (hard links)")

// open opens the file and its directory, in which a link does not lead astray.
func (l *logFile) open() (*logDir, error) {
	dir, name := filepath.Split(l.path)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &logDir{Root: root, name: name, keep: l.keep}
	before, err := root.Lstat(name)
	if err == nil && !before.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err == nil {
		d.live, err = root.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	}
	if err == nil {
		d.info, err = d.live.Stat()
	}
	if err == nil && (!os.SameFile(before, d.info) || links(d.info) > 1) {
		err = errLinks
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func links(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// logDir is a log file in its directory.
type logDir struct {
	*os.Root
	name string
	keep int
	live *os.File
	info fs.FileInfo // of live, when it was opened
}

func (d *logDir) close() {
	if d.live != nil {
		d.live.Close()
	}
	d.Root.Close()
}

func (d *logDir) number(k int) string { return d.name + "." + strconv.Itoa(k) }

func (d *logDir) copyName() string { return d.name + copySuffix }

const copySuffix = ".rotating"

// rotate moves the head of the file to PATH.1 while others write to the file. It returns
// how many bytes that were.
func (l *logFile) rotate() (int64, error) {
	d, err := l.open()
	if err != nil {
		return 0, err
	}
	defer d.close()
	if err := d.settle(); err != nil {
		return 0, err
	}
	block, err := cutUnit(d.live, d.info.Size())
	if err != nil {
		return 0, err
	}
	cut := headOf(d.live, d.info.Size(), block)
	if cut == 0 {
		return 0, nil
	}
	moved, err := d.copyHead(cut)
	if err != nil {
		return 0, err
	}
	defer moved.Close()
	// What is not on the disk yet is written before the cut, with writers waiting. It
	// is no matter if this one fails.
	_ = d.live.Sync()
	done := false
	err = d.locked(func() error {
		same, err := d.holds(moved, cut, 4096)
		if err != nil || !same {
			cut = 0 // emptied, or renamed, meanwhile
			return err
		}
		if err := d.shift(); err != nil {
			return err
		}
		if err := cutHead(d.live, cut); err != nil {
			return err
		}
		done = true // if this fails, settle does it the next time
		return d.Rename(d.copyName(), d.number(1))
	})
	if !done {
		return 0, errors.Join(err, d.Remove(d.copyName()))
	}
	return cut, err
}

// headOf returns how much of a file is to go: whole blocks, with the end of a line at
// their end if there is one at the end of any block of the file's second half. The end
// of the file cannot go.
func headOf(f io.ReaderAt, size, block int64) int64 {
	most := (size - 1) / block * block
	last := make([]byte, 1)
	for at := most; at > 0 && at >= most/2; at -= block {
		if _, err := f.ReadAt(last, at-1); err == nil && last[0] == '\n' {
			return at
		}
	}
	return most
}

// copyHead copies the head of the file.
func (d *logDir) copyHead(size int64) (*os.File, error) {
	if _, err := d.live.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	f, err := d.create(d.copyName())
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(d.live, size))
	if err == nil && n < size {
		err = errors.New("it was emptied meanwhile")
	}
	if err == nil {
		err = f.Sync() // before the lines are cut off
	}
	if err != nil {
		f.Close()
		_ = d.Remove(d.copyName())
		return nil, err
	}
	return f, nil
}

// create makes a file that is as accessible as the log file.
func (d *logDir) create(name string) (*os.File, error) {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if stat, ok := d.info.Sys().(*syscall.Stat_t); ok && (int(stat.Uid) != os.Geteuid() || int(stat.Gid) != os.Getegid()) {
		err = f.Chown(int(stat.Uid), int(stat.Gid))
	}
	if err == nil {
		err = f.Chmod(d.info.Mode().Perm())
	}
	if err != nil {
		f.Close()
		_ = d.Remove(name)
		return nil, err
	}
	return f, nil
}

// locked calls do while no reader looks at the file. A reader does so for moments; who
// holds the lock for longer puts the rotation off.
func (d *logDir) locked(do func() error) error {
	for range 200 {
		err := syscall.Flock(int(d.live.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			defer func() { _ = syscall.Flock(int(d.live.Fd()), syscall.LOCK_UN) }()
			return do()
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			return fmt.Errorf("cannot lock it: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("someone keeps it locked")
}

// holds reports whether the file still has its name and begins with what was copied. Of
// the copy only the last bytes are compared, as many as asked for.
func (d *logDir) holds(copied *os.File, size, compare int64) (bool, error) {
	named, err := d.Lstat(d.name)
	if err != nil {
		return false, err
	}
	now, err := d.live.Stat()
	if err != nil || !os.SameFile(named, now) || now.Size() <= size {
		return false, err
	}
	const block = 64 << 10
	a, b := make([]byte, block), make([]byte, block)
	for at := max(0, size-compare); at < size; {
		n := min(block, size-at)
		if _, err := copied.ReadAt(a[:n], at); err != nil {
			return false, err
		}
		if _, err := d.live.ReadAt(b[:n], at); err != nil {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		at += n
	}
	return true, nil
}

// settle brings a rotation to its end that an earlier supervisor has not finished.
func (l *logFile) settle() error {
	if _, err := os.Lstat(l.path + copySuffix); err != nil {
		return nil
	}
	d, err := l.open()
	if err != nil {
		return err
	}
	defer d.close()
	return d.settle()
}

// settle brings a rotation to its end that was not finished: the copy goes if the file
// still begins with it, else its lines are nowhere else.
func (d *logDir) settle() error {
	f, err := d.OpenFile(d.copyName(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	same, err := d.holds(f, info.Size(), info.Size())
	if err != nil {
		return err
	}
	if same {
		return d.Remove(d.copyName())
	}
	return d.locked(func() error {
		if err := d.shift(); err != nil {
			return err
		}
		return d.Rename(d.copyName(), d.number(1))
	})
}

// shift makes room for a new PATH.1.
func (d *logDir) shift() error {
	free := 1
	for ; free <= d.keep; free++ {
		if _, err := d.Lstat(d.number(free)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if free > d.keep {
		for k := d.keep; ; k++ { // fewer are kept than before
			if err := d.Remove(d.number(k)); errors.Is(err, fs.ErrNotExist) {
				break
			} else if err != nil {
				return err
			}
		}
		free = d.keep
	}
	for k := free; k > 1; k-- {
		if err := d.Rename(d.number(k-1), d.number(k)); err != nil {
			return err
		}
	}
	return nil
}

// replace renames a file that is too large and that rotate cannot rotate, and makes a
// new one. Nobody writes to it, or else goes on in the old one.
func (l *logFile) replace() error {
	if info, err := os.Lstat(l.path); err != nil || info.Size() < l.most {
		return nil
	}
	d, err := l.open()
	if err != nil {
		return fmt.Errorf("cannot rotate %s: %w", l.path, err)
	}
	defer d.close()
	if _, err := cutUnit(d.live, d.info.Size()); !errors.Is(err, errFixed) {
		return nil
	}
	if err = d.shift(); err == nil {
		err = d.Rename(d.name, d.number(1))
	}
	if err == nil {
		var f *os.File
		if f, err = d.create(d.name); err == nil {
			f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("cannot rotate %s: %w", l.path, err)
	}
	return nil
}
