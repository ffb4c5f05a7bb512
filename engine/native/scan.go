package native

import (
	"bytes"
	"slices"
)

// procStat is one process of a snapshot. Cpu is in nanoseconds, rss in bytes; -1 is unknown.
type procStat struct {
	proc
	ppid, group, session int
	zombie               bool
	threads              int
	cpu, rss             int64
}

// owners is whose processes a snapshot is searched for.
type owners struct {
	families []*family
	// roots are the main and control processes, by number: their sessions and descendants
	// are theirs.
	roots map[int]int
	// sessions are those of roots that have ended. The number may be another's by now, but
	// no child of the supervisor's is in the session of a stranger.
	sessions map[int]int
	// outside are those that were found before.
	outside map[proc]int
	// invocations finds what has left its session and lost its parents.
	invocations map[string]int
	// orphans says that parents may be lost to others than the supervisor.
	orphans bool
	self    int
	foreign *foreigners
	// adoptions is how many there were: after one more, strangers may be none.
	adoptions int
}

// knows reports whether a process group is that of a root, as it is or was.
func (o *owners) knows(group int) bool {
	_, root := o.roots[group]
	_, ended := o.sessions[group]
	return root || ended
}

// foreigners remembers processes that are known to be of no unit, whose environments
// would be read again and again otherwise.
type foreigners struct {
	known     map[proc]bool
	adoptions int
}

// found is a process of a family.
type found struct {
	procStat
	family int
}

// search finds the processes of families in a snapshot, the roots among them. The snapshot
// is sorted by number.
func (o *owners) search(all []procStat, environ func(pid int) []byte) []found {
	if o.foreign.adoptions != o.adoptions {
		*o.foreign = foreigners{adoptions: o.adoptions}
	}
	s := searching{owners: o, all: all, environ: environ, owner: make([]int32, len(all))}
	out := make([]found, 0, len(all))
	for i := range all {
		if f := s.resolve(i); f >= 0 {
			out = append(out, found{all[i], f})
		}
	}
	o.foreign.keep(all)
	return out
}

type searching struct {
	*owners
	all     []procStat
	environ func(pid int) []byte
	owner   []int32 // 0: not resolved yet, -1: nobody's, else family+1
}

// resolve returns the family of a process, -1 for none.
func (s *searching) resolve(i int) int {
	if s.owner[i] == 0 {
		s.owner[i] = -1 // for the time being: parents never go in circles, but a snapshot may
		if f := s.find(&s.all[i]); f >= 0 {
			s.owner[i] = int32(f) + 1
		}
	}
	return int(max(s.owner[i]-1, -1))
}

func (s *searching) find(p *procStat) (family int) {
	if p.PID == s.self {
		return -1
	}
	if f, ok := s.roots[p.PID]; ok {
		return f
	}
	if f, ok := s.outside[p.proc]; ok {
		return f
	}
	if f, ok := s.roots[p.session]; ok {
		return f
	}
	if f, ok := s.sessions[p.session]; ok && p.ppid == s.self {
		return f
	}
	if p.ppid != s.self && p.ppid > 1 {
		at, ok := slices.BinarySearchFunc(s.all, p.ppid, func(q procStat, pid int) int { return q.PID - pid })
		if ok {
			if f := s.resolve(at); f >= 0 {
				return f
			}
		}
	}
	if p.ppid != s.self && !s.orphans || len(s.invocations) == 0 || p.zombie || s.foreign.known[p.proc] {
		return -1
	}
	if id := invocationOf(s.environ(p.PID)); id != "" {
		if f, ok := s.invocations[id]; ok {
			return f
		}
	}
	// A child of the supervisor's may be on its way to execve(2), and have an environment
	// of its own only then.
	if p.ppid != s.self {
		s.foreign.add(p.proc)
	}
	return -1
}

func (k *foreigners) add(p proc) {
	if k.known == nil {
		k.known = map[proc]bool{}
	}
	k.known[p] = true
}

// keep forgets those that are no more, now and then.
func (k *foreigners) keep(all []procStat) {
	if len(k.known) <= len(all) {
		return
	}
	known := make(map[proc]bool, len(all))
	for i := range all {
		if k.known[all[i].proc] {
			known[all[i].proc] = true
		}
	}
	k.known = known
}

var invocationName = []byte("INVOCATION_ID=")

// invocationOf returns the INVOCATION_ID of an environment as the kernel shows it, ""
// without one.
func invocationOf(environ []byte) string {
	for rest := environ; ; {
		at := bytes.Index(rest, invocationName)
		if at < 0 {
			return ""
		}
		if at == 0 || rest[at-1] == 0 {
			value := rest[at+len(invocationName):]
			if end := bytes.IndexByte(value, 0); end >= 0 {
				value = value[:end]
			}
			return string(value)
		}
		rest = rest[at+len(invocationName):]
	}
}
