package native

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// scanner asks the kernel for its table of processes. That has no sizes in it, and what
// else tells of them is beyond a program without C.
type scanner struct {
	all     []procStat
	foreign foreigners
}

// canMeasure says that the sizes of processes are to be seen.
const canMeasure = false

// snapshot reads every process that there is, sorted by number. The result is valid until
// the next call.
func (s *scanner) snapshot() []procStat {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	s.all = s.all[:0]
	for i := range table {
		s.all = append(s.all, newStat(&table[i]))
	}
	slices.SortFunc(s.all, func(a, b procStat) int { return cmp.Compare(a.PID, b.PID) })
	return s.all
}

func newStat(k *unix.KinfoProc) procStat {
	const zombie = 5 // SZOMB
	p := procStat{ppid: int(k.Eproc.Ppid), group: int(k.Eproc.Pgid), zombie: k.Proc.P_stat == zombie, cpu: -1, rss: -1}
	p.PID = int(k.Proc.P_pid)
	p.Start = uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec)
	p.session, _ = unix.Getsid(p.PID)
	return p
}

// lookAt reads one process.
func lookAt(pid int) (procStat, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return procStat{}, false
	}
	return newStat(k), true
}

// environOf reads the environment that a process was executed with; nil where that is not
// to be seen. It stands behind the count of arguments, the path of the program, padding, and
// the arguments.
func (s *scanner) environOf(pid int) []byte {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 4 {
		return nil
	}
	count := int(binary.NativeEndian.Uint32(b))
	b = b[4:]
	at := bytes.IndexByte(b, 0)
	if at < 0 {
		return nil
	}
	b = bytes.TrimLeft(b[at:], "\x00")
	for ; count > 0; count-- {
		at := bytes.IndexByte(b, 0)
		if at < 0 {
			return nil
		}
		b = b[at+1:]
	}
	return b
}

func pss(int) int64 { return -1 }

// sameProgram is unknown: an unfinished fork is not waited for.
func sameProgram(int) bool { return false }
