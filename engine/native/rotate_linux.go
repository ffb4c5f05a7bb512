package native

import (
	"errors"
	"os"
	"syscall"
)

// collapseRange is FALLOC_FL_COLLAPSE_RANGE of fallocate(2): ext4, xfs and f2fs have it,
// overlayfs passes it on; tmpfs, btrfs, zfs and nfs do not.
const collapseRange = 8

// cutUnit returns what the size of a head must be a multiple of, errFixed where no head
// can be cut off.
func cutUnit(f *os.File, size int64) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &stat); err != nil {
		return 0, err
	}
	block := int64(stat.Bsize)
	// A range behind the end is refused by who could cut off another one.
	if err := collapse(f, (size/block+1<<20)*block, block); err != syscall.EINVAL {
		return 0, errFixed
	}
	return block, nil
}

func cutHead(f *os.File, size int64) error {
	err := collapse(f, 0, size)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
		return errFixed // ext4 with clusters of blocks, bigalloc
	}
	return err
}

func collapse(f *os.File, from, size int64) error {
	for {
		if err := syscall.Fallocate(int(f.Fd()), collapseRange, from, size); err != syscall.EINTR {
			return err
		}
	}
}
