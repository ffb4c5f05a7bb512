//go:build !linux

package engine

import (
	"errors"
	"os"
)

const nonBlocking = 0

// dirWatch is only on Linux; elsewhere files are looked at from time to time.
type dirWatch struct{ changed chan struct{} }

func watchDirs() (*dirWatch, error) { return nil, errors.ErrUnsupported }

func (*dirWatch) add(string) {}
func (*dirWatch) close()     {}

// gone reports whether a file has no name any more, as far as its first name tells.
func (o *openLog) gone() bool {
	_, err := os.Stat(o.f.Name())
	return err != nil
}
