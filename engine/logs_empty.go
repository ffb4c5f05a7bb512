package engine

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// EmptyLog empties the file of a source in place, so that who has it open to append
// goes on writing to it, and removes those that it was rotated to. It returns how many
// bytes there were. The error is a *LogFileError, of fs.ErrNotExist when there is no file.
func EmptyLog(s *LogSource) (freed int64, err error) {
	if freed, err = emptyLog(s); err != nil {
		err = &LogFileError{s.File, cause(err)}
	}
	return freed, err
}

func emptyLog(s *LogSource) (freed int64, err error) {
	f, err := os.OpenFile(s.File, os.O_WRONLY|nonBlocking, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errNotRegular
	}
	if s.Keep > 0 {
		lockSoon(f)
		for k := 1; k <= s.Keep; k++ {
			path := s.File + "." + strconv.Itoa(k)
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && os.Remove(path) == nil {
				freed += info.Size()
			}
		}
	}
	if info, err = f.Stat(); err != nil {
		return freed, err
	}
	if err := f.Truncate(0); err != nil {
		return freed, err
	}
	return freed + info.Size(), nil
}

// lockSoon keeps others from rotating a file until it is closed. Who holds the lock has
// it for moments, or is no one to wait for.
func lockSoon(f *os.File) {
	for range 100 {
		if lockFile(f, syscall.LOCK_EX|syscall.LOCK_NB) != syscall.EWOULDBLOCK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
