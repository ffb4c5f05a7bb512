package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Lock takes the file at path for this process, makes it and its parents where
// they are missing, and writes "PID WHO" into it. When another process has it,
// held is called once with what that one wrote, and Lock waits until the file is
// free or ctx ends. A process that ends, however, gives the lock back.
//
// The file goes with the lock, and its directory with it if it is empty then: a
// process that waited for a file which is gone takes the one that is there now. It
// is for its owner alone, as whoever can open it can lock it.
func Lock(ctx context.Context, path, who string, held func(holder string)) (unlock func(), err error) {
	for tries := 0; ; tries++ {
		f, err := lockOnce(ctx, path, &held)
		// The file or its directory may go at any moment, but not for ever.
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)) && tries < lockTries {
			continue
		}
		if err != nil {
			return nil, &Error{"lock", path, bare(err), ""}
		}
		// Whom others wait for is a courtesy; a full disk does not matter here.
		if f.Truncate(0) == nil {
			_, _ = f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), who), 0)
		}
		return func() {
			// What cannot be removed does no harm.
			_ = os.Remove(path)
			_ = os.Remove(filepath.Dir(path))
			f.Close()
		}, nil
	}
}

// lockTries is how often the file may be removed by others before Lock wonders.
const lockTries = 10_000

// lockOnce opens and locks the file, and fails with fs.ErrNotExist when that was
// removed meanwhile.
func lockOnce(ctx context.Context, path string, held *func(string)) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		(*held)(holder(f))
		*held = func(string) {}
		err = wait(ctx, f)
	} else if err != nil {
		f.Close()
	}
	if err != nil {
		return nil, err
	}
	mine, err := f.Stat()
	there, gone := os.Lstat(path)
	if err == nil && (gone != nil || !os.SameFile(mine, there)) {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// holder reads who has the lock.
func holder(f *os.File) string {
	text, _ := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if who := strings.TrimSpace(string(text)); who != "" {
		return who
	}
	return "another process" // which has not come to writing it
}

// wait waits for the lock in flock(2) itself: no polling, and first come, first
// served. That call cannot be ended. After ctx it goes on in its goroutine, and
// the lock that it gets in the end is given back at once.
func wait(ctx context.Context, f *os.File) error {
	got := make(chan error, 1)
	go func() { got <- flock(f, syscall.LOCK_EX) }()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
		}
		return err
	case <-ctx.Done():
		go func() {
			<-got
			f.Close()
		}()
		return ctx.Err()
	}
}

func flock(f *os.File, how int) error {
	return uninterrupted(func() error { return syscall.Flock(int(f.Fd()), how) })
}
